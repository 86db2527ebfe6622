//! `mmap(2)` of memory that the kernel shares with us.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Pages that are mapped until this goes. A child process does not inherit them.
#[derive(Debug)]
pub(super) struct Mapping {
    address: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, and its users reach what changes in it by atomics alone.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `length` bytes of a file from `offset` on, which is a multiple of the page size.
    pub(super) fn new(
        file: impl AsFd,
        length: NonZeroUsize,
        protection: ProtFlags,
        offset: usize,
    ) -> Result<Mapping, Errno> {
        // SAFETY: a new mapping at an address of the kernel's choice harms nobody.
        let address =
            unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, offset as libc::off_t) }?;
        let mapping = Mapping { address, length: length.get() };
        // SAFETY: the range is the mapping's own. A fork would copy what page tables it has.
        unsafe { madvise(address, length.get(), MmapAdvise::MADV_DONTFORK) }?;
        Ok(mapping)
    }

    /// Where it begins; valid for as long as `self`.
    pub(super) fn address<T>(&self) -> NonNull<T> {
        self.address.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and its borrowers are gone.
        let _ = unsafe { munmap(self.address, self.length) };
    }
}

/// The size of a page.
pub fn page_size() -> Result<NonZeroUsize, Errno> {
    let size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| usize::try_from(size).ok());
    size.and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)
}
