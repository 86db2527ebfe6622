//! `kmonitor doctor`

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use kmonitor::doctor::{Report, Status, examine, probe};

use super::Failure;
use super::color::{Color, Colors};
use super::exit::Exit;
use super::options::DoctorOptions;

pub fn doctor(options: &DoctorOptions) -> Result<Exit, Failure> {
    if options.as_client {
        return client(&options.path);
    }
    // The program that runs, also if its file was replaced meanwhile.
    let mut client = Command::new("/proc/self/exe");
    client.args(["doctor", "--as-client", "--path"]).arg(&options.path);
    let report = examine(&options.path, client);
    let mut output = if options.json {
        report.to_json().map_err(|error| Failure::new(Exit::Error, error))?
    } else {
        text(&report, Colors::choose(options.color.color, &io::stdout()))
    };
    output.push('\n');
    // Nobody may be there to read it.
    let _ = io::stdout().write_all(output.as_bytes());
    Ok(if report.usable { Exit::Done } else { Exit::Unavailable })
}

/// Tells each step on standard output, for the doctor that started us.
fn client(path: &Path) -> Result<Exit, Failure> {
    let told = probe::run(path, |step| writeln!(io::stdout(), "{}", serde_json::to_string(&step)?));
    told.map_or_else(|error| Err(Failure::new(Exit::Error, error)), |()| Ok(Exit::Done))
}

fn text(report: &Report, colors: Colors) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let color = match check.status {
            Status::Ok => Color::Green,
            Status::Warn => Color::Yellow,
            Status::Fail => Color::Red,
        };
        let status = colors.paint(color, &format!("{:<4}", check.status.word()));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{status}  {:<12}  {}", check.name, check.found);
        if let Some(remedy) = &check.remedy {
            let _ = writeln!(text, "{:20}-> {remedy}", "");
        }
    }
    text + match (report.usable, report.served) {
        (true, true) => "usable: the device works",
        (true, false) => "usable: a device can be served here",
        (false, _) => "not usable: see the checks that failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ColorChoice;
    use kmonitor::doctor::Check;

    #[test]
    fn each_check_is_a_line_and_its_remedy_stands_below() {
        let checks = vec![Check::ok("fuse", "there"), Check::fail("device", "gone", "serve it")];
        let report = Report::new("/dev/kmonitor".to_owned(), false, checks);
        let plain = text(&report, Colors::choose(ColorChoice::Never, &io::stdout()));
        assert_eq!(
            plain,
            "ok    fuse          there\n\
             fail  device        gone\n\
             \x20                   -> serve it\n\
             not usable: see the checks that failed"
        );
        let painted = text(&report, Colors::choose(ColorChoice::Always, &io::stdout()));
        assert!(painted.starts_with("\x1b[32mok  \x1b[0m  fuse"), "{painted:?}");
    }
}
