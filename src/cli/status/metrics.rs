//! The status for Prometheus: its text format, as the textfile collector of its node exporter takes it.

use std::io::{self, Write};

use kmonitor::observe::MEANINGS;
use kmonitor::status::DaemonStatus;

/// Prints what can be counted.
pub fn print(daemon: &DaemonStatus, to: &mut impl Write) -> io::Result<()> {
    let gauges = [
        ("uptime_seconds", "How long the daemon has served.", daemon.uptime_seconds),
        ("registrations", "Registrations.", daemon.registrations),
        ("monitors", "Tasks that have registered.", daemon.monitors),
        ("targets", "Numbers of tasks that are watched.", daemon.targets),
        ("open_files", "Open files on the device.", daemon.open_files),
        ("waiting_signals", "Signals that wait in the daemon.", daemon.waiting_signals),
    ];
    let path = label(&daemon.path);
    for (name, help, value) in gauges {
        metric(to, name, "gauge", help)?;
        writeln!(to, "kmonitor_{name}{{path=\"{path}\"}} {value}")?;
    }
    metric(to, "info", "gauge", "The daemon. Always 1.")?;
    let (version, device, source) = (label(&daemon.version), label(&daemon.device), label(&daemon.source));
    writeln!(
        to,
        "kmonitor_info{{path=\"{path}\",version=\"{version}\",device=\"{device}\",source=\"{source}\"}} 1"
    )?;
    for (name, value) in &daemon.counters {
        let help = MEANINGS.iter().find(|(known, _)| known == name).map_or("", |(_, help)| help.trim());
        metric(to, &format!("{name}_total"), "counter", help)?;
        writeln!(to, "kmonitor_{name}_total{{path=\"{path}\"}} {value}")?;
    }
    Ok(())
}

fn metric(to: &mut impl Write, name: &str, kind: &str, help: &str) -> io::Result<()> {
    writeln!(to, "# HELP kmonitor_{name} {help}\n# TYPE kmonitor_{name} {kind}")
}

/// The value of a label, as the format escapes it.
fn label(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn each_metric_has_its_help_and_type_before_it() {
        let daemon = DaemonStatus {
            v: 1,
            version: "0.1.0".to_owned(),
            pid: 7,
            path: "/dev/kmonitor".to_owned(),
            device: "a FUSE mount".to_owned(),
            source: "BPF programs in the kernel".to_owned(),
            uptime_seconds: 60,
            registrations: 2,
            monitors: 1,
            targets: 2,
            open_files: 1,
            waiting_signals: 0,
            counters: [("signals".to_owned(), 12), ("of_the_future".to_owned(), 1)].into(),
        };
        let mut text = Vec::new();
        print(&daemon, &mut text).expect("memory takes all");
        let text = String::from_utf8(text).expect("it is text");
        assert!(text.contains(
            "# HELP kmonitor_signals_total Signals that were sent.\n\
             # TYPE kmonitor_signals_total counter\n\
             kmonitor_signals_total{path=\"/dev/kmonitor\"} 12\n"
        ));
        for lines in text.lines().collect::<Vec<_>>().chunks(3) {
            let name = lines[2].split('{').next().expect("a name");
            assert!(lines[0].starts_with(&format!("# HELP {name} ")), "{lines:?}");
            assert!(lines[1].starts_with(&format!("# TYPE {name} ")), "{lines:?}");
        }
    }
}
