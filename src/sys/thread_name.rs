//! The name of the calling thread (`prctl(2)`).

use nix::errno::Errno;

/// `TASK_COMM_LEN`: a name with its end.
const LENGTH: usize = 16;

/// Names the calling thread what it is named (`PR_GET_NAME`, `PR_SET_NAME`), which the kernel reports as
/// a change.
///
/// nix's `get_name` hands the kernel a buffer that the compiler may take to stay zero, as it does with
/// link-time optimisation.
pub fn repeat() -> Result<(), Errno> {
    let mut name = [0u8; LENGTH];
    // SAFETY: the kernel writes at most so many bytes.
    Errno::result(unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) })?;
    // SAFETY: the kernel reads at most so many bytes.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays() {
        let thread = std::thread::Builder::new().name("fifteen-letters".to_owned()).spawn(|| {
            repeat().expect("any thread may");
            std::fs::read_to_string("/proc/thread-self/comm").expect("/proc is mounted")
        });
        assert_eq!(thread.expect("a thread").join().expect("it ends"), "fifteen-letters\n");
    }
}
