//! `clock_gettime(2)`.

use std::fs;
use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the kernel's own CLOCK_MONOTONIC, the clock that stamps proc connector events and that BPF
/// programs read. In a time namespace (time_namespaces(7)) the process's CLOCK_MONOTONIC is shifted against it.
pub fn monotonic_ns() -> u64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has CLOCK_MONOTONIC");
    let now = now.tv_sec() * 1_000_000_000 + now.tv_nsec();
    (now - OFFSET.get_or_init(offset_ns)) as u64
}

/// What to add to a [`monotonic_ns`] for nanoseconds since 1970 (CLOCK_REALTIME) and since the boot, sleep
/// included (CLOCK_BOOTTIME of the initial time namespace, which a boot's first processes share).
pub fn realtime_and_boottime_offsets() -> (i64, i64) {
    let read = |clock| clock_gettime(clock).map_or(0, |now| now.tv_sec() * 1_000_000_000 + now.tv_nsec());
    let (realtime, boottime) = (read(ClockId::CLOCK_REALTIME), read(ClockId::CLOCK_BOOTTIME));
    // Last, so that no time is in the future.
    let now = monotonic_ns() as i64;
    (realtime - now, boottime - now)
}

/// How much this process's CLOCK_MONOTONIC is ahead of the kernel's own. A time namespace is entered by fork or
/// exec, so it stays the same while a program runs.
fn offset_ns() -> i64 {
    // The file describes the namespace of children to come.
    let own = fs::read_link("/proc/self/ns/time").ok();
    if own.is_none() || own != fs::read_link("/proc/self/ns/time_for_children").ok() {
        return 0;
    }
    fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| parse(&text)).unwrap_or(0)
}

/// The line `monotonic SECONDS NANOSECONDS`; the nanoseconds are added also to negative seconds.
fn parse(offsets: &str) -> Option<i64> {
    let mut fields = offsets.lines().find_map(|line| line.strip_prefix("monotonic "))?.split_whitespace();
    let mut field = || fields.next()?.parse::<i64>().ok();
    field()?.checked_mul(1_000_000_000)?.checked_add(field()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_with_their_sign() {
        let offsets = |seconds, nanoseconds| {
            parse(&format!("monotonic  {seconds:>10} {nanoseconds:>9}\nboottime            7         0\n"))
        };
        assert_eq!(offsets(0, 0), Some(0));
        assert_eq!(offsets(1_000_000, 5), Some(1_000_000_000_000_005));
        assert_eq!(offsets(-2, 500_000_000), Some(-1_500_000_000));
        for text in [
            "",
            "monotonic",
            "monotonic 1",
            "monotonic x 0",
            "boottime 1 0",
            "monotonic 9223372036854775807 0",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
