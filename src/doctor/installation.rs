//! What the package brings for other users: a group, and the udev rule that gives it a CUSE device.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Group;

use super::{Check, Facts};

const GROUP: &str = "kmonitor";

const SYSUSERS: [&str; 3] =
    ["etc/sysusers.d/kmonitor.conf", "run/sysusers.d/kmonitor.conf", "usr/lib/sysusers.d/kmonitor.conf"];

/// In the order in which udev prefers them.
const RULES: [&str; 5] = [
    "etc/udev/rules.d/70-kmonitor.rules",
    "run/udev/rules.d/70-kmonitor.rules",
    "usr/local/lib/udev/rules.d/70-kmonitor.rules",
    "usr/lib/udev/rules.d/70-kmonitor.rules",
    "lib/udev/rules.d/70-kmonitor.rules",
];

/// One check each.
pub fn checks(facts: &Facts) -> [Check; 2] {
    let root = Path::new("/");
    let may_open = matches!(facts.opened(), Some(Ok(_)));
    [group(root, has_group(GROUP), may_open), udev(root, has_group)]
}

fn has_group(name: &str) -> bool {
    Group::from_name(name).is_ok_and(|group| group.is_some())
}

fn installed(root: &Path, files: &[&str]) -> Option<PathBuf> {
    files.iter().map(|file| root.join(file)).find(|file| file.exists())
}

/// Whether the group of the packaged service is there; no matter if this user may open the device.
fn group(root: &Path, exists: bool, may_open: bool) -> Check {
    const NAME: &str = "group";
    let file = installed(root, &SYSUSERS);
    match (exists, file) {
        (true, _) => {
            Check::ok(NAME, "kmonitor is there; its members may open the device of the packaged service")
        }
        (false, Some(file)) => Check::warn(
            NAME,
            format!("{} is there, and the group kmonitor is not", file.display()),
            "sudo systemd-sysusers kmonitor.conf",
        ),
        (false, None) if may_open => Check::ok(NAME, "there is no group kmonitor; this user needs none"),
        (false, None) => Check::warn(
            NAME,
            "there is no group kmonitor: unless a device is served with --group, only root may open it",
            "to let others: sudo groupadd --system kmonitor, and serve with --group kmonitor --mode 660",
        ),
    }
}

/// Whether the rule is in force and names a group that is there.
fn udev(root: &Path, has_group: impl Fn(&str) -> bool) -> Check {
    const NAME: &str = "udev";
    let Some(file) = installed(root, &RULES) else {
        return Check::ok(NAME, "no rule is installed: the daemon alone decides who may open a CUSE device");
    };
    let shown = file.display();
    let rule = fs::read_to_string(&file).unwrap_or_default();
    let rules: String = rule.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    if rules.trim().is_empty() {
        return Check::ok(NAME, format!("{shown} is empty, which turns the rule off"));
    }
    let Some(group) = rules.split("GROUP=\"").nth(1).and_then(|rest| rest.split('"').next()) else {
        return Check::ok(NAME, format!("{shown} gives the device to no group"));
    };
    if has_group(group) {
        return Check::ok(NAME, format!("{shown} gives a CUSE device to the group {group}"));
    }
    Check::warn(
        NAME,
        format!("{shown} gives a CUSE device to the group {group}, which does not exist"),
        format!(
            "sudo systemd-sysusers, or sudo groupadd --system {group}; and then sudo udevadm control --reload"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn root(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("kmonitor-{name}-{}", std::process::id()));
        for (file, content) in files {
            let file = root.join(file);
            fs::create_dir_all(file.parent().expect("it has one")).expect("mkdir");
            fs::write(file, content).expect("write");
        }
        root
    }

    #[test]
    fn a_group_that_should_be_there_is_missed() {
        let bare = Path::new("/no such directory");
        assert_eq!(group(bare, true, false).status, Status::Ok);
        assert_eq!(group(bare, false, true).status, Status::Ok);
        let none = group(bare, false, false);
        assert_eq!(none.status, Status::Warn);
        assert!(none.remedy.is_some_and(|remedy| remedy.contains("groupadd --system kmonitor")));
        let root = root("group", &[(SYSUSERS[2], "g kmonitor -\n")]);
        let forgotten = group(&root, false, true);
        assert_eq!(forgotten.status, Status::Warn);
        assert!(forgotten.remedy.is_some_and(|remedy| remedy.contains("systemd-sysusers")));
        fs::remove_dir_all(&root).expect("rm -r");
    }

    #[test]
    fn a_rule_that_names_a_missing_group_is_found_and_an_earlier_directory_wins() {
        let rule = include_str!("../../packaging/70-kmonitor.rules");
        let root = root("udev", &[(RULES[3], rule)]);
        assert_eq!(udev(Path::new("/no such directory"), |_| false).status, Status::Ok);
        assert_eq!(udev(&root, |group| group == "kmonitor").status, Status::Ok);
        let check = udev(&root, |_| false);
        assert_eq!(check.status, Status::Warn, "{check:?}");
        assert!(check.found.contains("group kmonitor"), "{check:?}");
        let masked = root.join(RULES[0]);
        fs::create_dir_all(masked.parent().expect("it has one")).expect("mkdir");
        fs::write(masked, "").expect("write");
        let check = udev(&root, |_| false);
        assert_eq!(check.status, Status::Ok);
        assert!(check.found.contains("turns the rule off"), "{check:?}");
        fs::remove_dir_all(&root).expect("rm -r");
    }
}
