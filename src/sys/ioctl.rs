//! `ioctl(2)` that hands a driver some bytes.

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// `ioctl(2)` with a command made by `_IOW` for an argument of N bytes. ENOTTY: the file's driver does not
/// know the command. EINVAL too where the command's number says another size or direction.
pub fn write<const N: usize>(file: &impl AsFd, command: u32, argument: [u8; N]) -> Result<(), Errno> {
    // All but the number and the driver's letter.
    let size_and_direction = |command: u32| command & !0xffff;
    if size_and_direction(command) != nix::request_code_write!(0, 0, N) as u32 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the command's number says that the driver reads so many bytes, and they are there.
    let result = unsafe { libc::ioctl(file.as_fd().as_raw_fd(), command as libc::Ioctl, argument.as_ptr()) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_command_of_another_size_or_direction_never_reaches_the_driver() {
        let null = File::open("/dev/null").expect("it is everywhere");
        let command = nix::request_code_write!(0xde, 1, 12) as u32;
        assert_eq!(write(&null, command, [0; 12]), Err(Errno::ENOTTY));
        assert_eq!(write(&null, command, [0; 8]), Err(Errno::EINVAL));
        assert_eq!(write(&null, nix::request_code_read!(0xde, 1, 12) as u32, [0; 12]), Err(Errno::EINVAL));
    }
}
