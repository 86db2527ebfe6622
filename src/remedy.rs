//! What the user can do about an errno: every error of ours says what failed, on what, and this.

use std::io;

use nix::errno::Errno;

/// What to do about a call on the device's place, or for a resource of ours, that failed like this.
pub fn remedy(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => {
            "run it as root with all capabilities (sudo; in a container --privileged)"
        }
        Errno::ENOENT => "make its directory first (mkdir -p), or choose another place with --path",
        Errno::ENOTDIR => "choose another place with --path, all of whose parts are directories",
        Errno::ENAMETOOLONG => "choose a shorter place with --path",
        Errno::ELOOP => "choose another place with --path: symbolic links lead in a circle there",
        Errno::EROFS => "choose another place with --path: that file system is read-only",
        Errno::ENOSPC | Errno::EDQUOT => {
            "free space in that file system, or choose another place with --path"
        }
        Errno::EFBIG => "raise the limit of file sizes (ulimit -f, LimitFSIZE= of the unit)",
        Errno::EMFILE => "raise the limit of open files (ulimit -n, LimitNOFILE= of the unit)",
        Errno::ENFILE => "raise the system's limit of open files (sysctl fs.file-max)",
        Errno::ENOMEM => "free memory, or raise its limit (ulimit -v, MemoryMax= of the unit)",
        Errno::EAGAIN => "raise the limit of processes (ulimit -u, TasksMax= of the unit)",
        Errno::EBUSY => {
            "find out who uses it (findmnt, fuser), and end that, or choose another place with --path"
        }
        Errno::ENXIO | Errno::ENODEV => "load its module (modprobe), or boot a kernel that has it",
        Errno::ENOSYS => "boot Linux 5.3 or later; in a container, allow the call (--privileged)",
        Errno::EINVAL | Errno::EOPNOTSUPP => {
            "choose another place with --path: that file system cannot do it"
        }
        Errno::EIO => "look at what the kernel says of that file system's disk (dmesg)",
        _ => "report this, please: nobody has met it yet",
    }
}

/// The same for an error of the standard library.
pub fn of(error: &io::Error) -> &'static str {
    remedy(error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// How a remedy begins, unless it comes of this module.
    const BEGINNINGS: [&str; 18] = [
        "run ",
        "use ",
        "try ",
        "boot ",
        "load ",
        "start ",
        "stop ",
        "end ",
        "raise ",
        "choose ",
        "remove ",
        "report ",
        "continue ",
        "take ",
        "look at ",
        "or run ",
        "or use ",
        "do it by hand",
    ];

    /// The sources of the crate.
    fn sources(directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("it is text");
                found.push((path.display().to_string(), text));
            }
        }
    }

    #[test]
    fn every_error_says_what_to_do() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let (mut errors, mut silent) = (0, Vec::new());
        for (file, text) in &files {
            // What thiserror turns into a sentence ends with a line break after its bracket.
            for message in text.split("#[error(").skip(1).filter_map(|rest| rest.split(")]\n").next()) {
                errors += 1;
                let passes_on = message == "transparent" || message == "\"{0}\"";
                let message = message.replace("\\\n", "");
                let parts = || message.split([':', '(', ',', ';', '"']).chain(message.split(": "));
                let has_remedy = parts()
                    .any(|part| BEGINNINGS.iter().any(|word| part.trim_start().starts_with(word)))
                    || message.contains("remedy");
                if !passes_on && !has_remedy {
                    silent.push(format!("{file}: {message}"));
                }
            }
        }
        assert!(errors > 30, "only {errors} errors were found");
        assert!(silent.is_empty(), "no remedy in\n{}", silent.join("\n"));
    }
}
