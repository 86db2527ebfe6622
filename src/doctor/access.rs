//! Whether this user may use the device, and whether events come through it.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};

use crate::sys::namespaces;
use crate::sys::statx::{self, FileStatus};

use super::probe::{Outcome, Step};
use super::{Check, Facts};

/// Why a process of another pid namespace gets nowhere.
const OTHER_PIDS: &str = "use the device from the pid namespace of its daemon (in a container: --pid=host)";

/// Whether the device may be opened, or, where none is served, whether this user may serve one.
pub fn permissions(facts: &Facts) -> Check {
    const NAME: &str = "permissions";
    let user = user_name(geteuid());
    match facts.opened() {
        Some(Ok(_)) => Check::ok(NAME, format!("user {user} may open the device")),
        Some(Err(Errno::EACCES)) => refused(NAME, facts, &user),
        Some(Err(Errno::EPERM)) => Check::fail(
            NAME,
            "the daemon refuses processes that it cannot name, those outside its pid namespace",
            OTHER_PIDS,
        ),
        _ if facts.root => Check::ok(NAME, "root may serve the device, and open it"),
        None if facts.outcome.is_some() => {
            Check::warn(NAME, "not checked: the device does not answer", "see the check of the device")
        }
        _ => Check::fail(
            NAME,
            format!("no device answers, and user {user}, who is not root, may not serve one"),
            format!("{}, or as root: systemctl start kmonitor", facts.command("serve")),
        ),
    }
}

fn refused(name: &'static str, facts: &Facts, user: &str) -> Check {
    let Ok(status) = statx::cached(&facts.path, 0) else {
        return Check::fail(name, format!("user {user} may not open the device"), "open it as root");
    };
    let found = format!("user {user} may not open the device: {}", describe(&status));
    let group = group_name(status.gid);
    let remedy = if status.mode & 0o060 != 0o060 || status.gid == 0 {
        "have it served for a group that this user is in: kmonitor serve --group GROUP --mode 660".to_owned()
    } else if is_listed(status.gid) {
        format!("this user was made a member of {group} after the session began: log in again")
    } else {
        format!("sudo usermod -aG {group} {user}, and log in again")
    };
    Check::fail(name, found, remedy)
}

/// True if the user database has our user in this group, which our process may not be in yet.
fn is_listed(group: u32) -> bool {
    let Ok(Some(user)) = User::from_uid(geteuid()) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    let ours = getgroups().unwrap_or_default();
    let group = Gid::from_raw(group);
    !ours.contains(&group)
        && getegid() != group
        && getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}

/// Permission bits, owner and group.
pub fn describe(status: &FileStatus) -> String {
    let (mode, user, group) =
        (status.mode & 0o7777, user_name(Uid::from_raw(status.uid)), group_name(status.gid));
    format!("mode {mode:03o}, user {user}, group {group}")
}

fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

/// Whether a process that forks, executes and ends is reported, and how soon; where the device is open.
pub fn events(facts: &Facts) -> Option<Check> {
    const NAME: &str = "events";
    let outcome = facts.outcome.as_ref()?.as_ref().ok()?;
    outcome.opened()?.ok()?;
    let (remedy, pid) = match &facts.daemon {
        Some(daemon) => (format!("look at its counters: kill -USR1 {}", daemon.pid), Some(daemon.pid)),
        None => ("look at the daemon's messages".to_owned(), None),
    };
    Some(match outcome.steps.last()? {
        _ if outcome.hung => Check::fail(
            NAME,
            "the device opened, and then a call on it did not return",
            match pid {
                Some(pid) => format!("its daemon is stopped or stuck: kill -CONT {pid}, or kill -KILL {pid}"),
                None => "its daemon is stopped or stuck: continue or end it".to_owned(),
            },
        ),
        Step::Started | Step::Opened { .. } | Step::NotOpened { .. } => {
            Check::warn(NAME, "not checked: the client ended early", "try again, and report it if it stays")
        }
        Step::NotRegistered { errno } => {
            let errno = Errno::from_raw(*errno);
            let remedy = match errno {
                Errno::ENOMEM => {
                    "raise the daemon's limits: --max-registrations, --max-per-monitor, and its \
                    limit of open files"
                        .to_owned()
                }
                Errno::EPERM => OTHER_PIDS.to_owned(),
                _ => remedy,
            };
            Check::fail(NAME, format!("REGISTER fails: {errno}"), remedy)
        }
        Step::NotReported { event, instead } => Check::fail(
            NAME,
            match instead {
                None => format!("no signal reported the {event} of a process within a second"),
                Some(instead) => format!("the {event} of a process was reported wrongly: {instead}"),
            },
            if namespaces::has_own_pids() { OTHER_PIDS.to_owned() } else { remedy },
        ),
        Step::NotTried { error } => Check::warn(
            NAME,
            format!("not checked: no process to watch could be had: {error}"),
            "try again; it takes /bin/sh and cat, and a machine that is not overloaded",
        ),
        Step::Watched { .. } => Check::ok(NAME, latency(outcome)),
    })
}

fn latency(outcome: &Outcome) -> String {
    let (signals, polls) = outcome.latencies();
    let count = signals.len();
    format!(
        "fork, exec and exit of {count} processes were reported; the exit {} us after kill(2), where a poll on a \
         pidfd returned after {} us (medians)",
        median(signals) / 1000,
        median(polls) / 1000
    )
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9, 1, 5]), 5);
        assert_eq!(median(vec![4]), 4);
        assert_eq!(median(Vec::new()), 0);
    }

    #[test]
    fn a_node_is_described_by_names_where_there_are_some() {
        let mut status = statx::cached(std::path::Path::new("/dev/null"), 0).expect("it is everywhere");
        assert_eq!(describe(&status), "mode 666, user root, group root");
        (status.uid, status.gid, status.mode) = (4_000_000, 4_000_001, 0o100_060);
        assert_eq!(describe(&status), "mode 060, user 4000000, group 4000001");
    }
}
