//! `kmonitor wait` on a kernel before 6.15, where no pidfd keeps the status of a process, so that it comes from the proc
//! connector; to which others than root may listen from 6.6 on.

use super::target::target_program;
use crate::device::served::KMONITOR;
use crate::guest::{Guest, GuestError, Report};

/// Waits for a process of which no zombie is left, with $BEFORE kmonitor and these OPTIONS.
const WAIT: &str = "
    rm -f /tmp/in; mkfifo /tmp/in; : >/tmp/out
    target no-zombie </tmp/in >/tmp/out & exec 3>/tmp/in
    until read -r pid </tmp/out && [ -n \"$pid\" ]; do sleep 0.1; done
    $BEFORE kmonitor wait $OPTIONS $pid >/tmp/said 2>&1 & kmonitor=$!
    # epoll_wait(2), or its end
    until grep -q '^232 ' /proc/$kmonitor/syscall || ! kill -0 $kmonitor; do sleep 0.1; done 2>/dev/null
    echo exit 7 >&3
    wait $kmonitor
    echo \"status $?\"
    sed \"s/\\b$pid\\b/PID/; s/after .* s$/after ... s/\" /tmp/said";

fn run() -> Result<Report, GuestError> {
    let step = |before: &str, options: &str| format!("BEFORE='{before}' OPTIONS='{options}'{WAIT}");
    Guest::new()?
        .program("/bin/kmonitor", KMONITOR)
        .program("/bin/target", target_program())
        .program("/bin/host-setpriv", "/usr/bin/setpriv")
        .step("kernel", "uname -r")
        .step("root", &step("", "--status"))
        .step("ordinary", &step("host-setpriv --reuid 65534 --regid 65534 --clear-groups", "--status"))
        .step("without", &step("", ""))
        .run()
}

#[test]
fn before_linux_6_6_root_alone_sees_the_status() -> Result<(), GuestError> {
    let report = run()?;
    assert_eq!(report.step("root").text(), "status 7\nPID exited, status 7, after ... s\n");
    let ordinary = report.step("ordinary").text();
    let kernel = report.step("kernel").text();
    let mut numbers = kernel.split('.').map_while(|number| number.parse::<u32>().ok());
    let anybody_may_listen = (numbers.next(), numbers.next()) >= (Some(6), Some(6));
    if anybody_may_listen {
        assert_eq!(ordinary, report.step("root").text());
    } else {
        assert!(ordinary.starts_with("status 125\nkmonitor: before Linux 6.15 "), "{ordinary}");
        assert!(ordinary.contains("run kmonitor as root (or wait without --status)"), "{ordinary}");
    }
    assert_eq!(report.step("without").text(), "status 0\nPID exited, after ... s\n");
    Ok(())
}
