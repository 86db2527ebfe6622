//! `setpriority(2)`.

use nix::errno::Errno;

/// Gives the calling thread this nice value, from -20, the first to run, to 19. EACCES: going below 0
/// needs CAP_SYS_NICE.
pub fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: no pointers. On Linux the call with 0 is about the calling thread alone.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}
