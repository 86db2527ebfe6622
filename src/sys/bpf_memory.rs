//! The memory of BPF maps: arrays of words, and ring buffers, without a system call for each access.

use std::hint;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::ProtFlags;

pub use super::mapping::page_size;

use super::mapping::Mapping;

/// The values of an array map made with `BPF_F_MMAPABLE`, as 32-bit words.
#[derive(Debug)]
pub struct MappedWords {
    mapping: Mapping,
    count: usize,
}

impl MappedWords {
    /// Maps the first `count` words. EPERM: the map was not made with that flag. EINVAL: it is shorter.
    pub fn new(map: impl AsFd, count: NonZeroUsize) -> Result<MappedWords, Errno> {
        let length = count.checked_mul(WORD).ok_or(Errno::EINVAL)?;
        let mapping = Mapping::new(map, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        Ok(MappedWords { mapping, count: count.get() })
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&AtomicU32> {
        // SAFETY: the mapping holds `count` words, aligned to its page, for as long as `self`, and all
        // access to them is atomic.
        (at < self.count).then(|| unsafe { self.mapping.address::<AtomicU32>().add(at).as_ref() })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &AtomicU32> {
        (0..self.count).filter_map(|at| self.get(at))
    }
}

const WORD: NonZeroUsize = NonZeroUsize::new(size_of::<u32>()).expect("4");

/// `BPF_RINGBUF_BUSY_BIT`, `BPF_RINGBUF_DISCARD_BIT` and `BPF_RINGBUF_HDR_SZ` (linux/bpf.h).
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: usize = 8;

/// How often a record that is being written is looked at before the thread sleeps between two looks. It is
/// written within a microsecond, unless the writer has lost its processor.
const SPINS: u32 = 1000;
const PAUSE: Duration = Duration::from_micros(20);

/// The size of a ring buffer that holds so many bytes: a power of two of pages.
pub fn ring_size(bytes: u32) -> Result<NonZeroUsize, Errno> {
    let pages = (bytes as usize).div_ceil(page_size()?.get()).max(1).next_power_of_two();
    page_size()?.checked_mul(NonZeroUsize::new(pages).ok_or(Errno::EINVAL)?).ok_or(Errno::EINVAL)
}

/// The reader of a ring buffer map. There must be one only.
#[derive(Debug)]
pub struct RingReader {
    map: OwnedFd,
    /// The page with our position, which we write.
    consumer: Mapping,
    /// The page with the programs' position, and the data, twice in a row, so that no record is cut.
    producer: Mapping,
    page: usize,
    size: usize,
    /// Records that were found unfinished.
    waits: u64,
}

impl RingReader {
    /// A reader of a ring buffer of `size` bytes.
    pub fn new(map: OwnedFd, size: NonZeroUsize) -> Result<RingReader, Errno> {
        let page = page_size()?;
        let twice = size.checked_mul(NonZeroUsize::new(2).expect("2")).ok_or(Errno::EINVAL)?;
        let length = twice.checked_add(page.get()).ok_or(Errno::EINVAL)?;
        let consumer = Mapping::new(&map, page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        let producer = Mapping::new(&map, length, ProtFlags::PROT_READ, page.get())?;
        Ok(RingReader { map, consumer, producer, page: page.get(), size: size.get(), waits: 0 })
    }

    fn position_in(mapping: &Mapping) -> &AtomicU64 {
        // SAFETY: each of the two pages begins with a position, for as long as the mapping, which both
        // sides reach by atomics alone.
        unsafe { mapping.address::<AtomicU64>().as_ref() }
    }

    /// The end of what programs have reserved. What one reserves later lies behind it.
    pub fn written(&self) -> u64 {
        Self::position_in(&self.producer).load(Ordering::SeqCst)
    }

    /// The end of what was read.
    pub fn read(&self) -> u64 {
        Self::position_in(&self.consumer).load(Ordering::Relaxed)
    }

    /// Passes over all that is written. True if there was anything.
    pub fn skip(&self) -> bool {
        let written = self.written();
        Self::position_in(&self.consumer).swap(written, Ordering::AcqRel) != written
    }

    /// How many records were found reserved and not yet written.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// Hands the next record that begins before `until` to `found`; waits for one that is being written.
    /// `None` if there is none.
    pub fn next<T>(&mut self, until: u64, mut found: impl FnMut(&[u8]) -> T) -> Option<T> {
        loop {
            let read = self.read();
            if read >= until {
                return None;
            }
            let at = self.page + (read as usize & (self.size - 1));
            let header = self.committed(at);
            let length = (header & !(BUSY | DISCARD)) as usize;
            let result = (header & DISCARD == 0).then(|| {
                // SAFETY: a record that is not busy lies whole in the mapping, which holds the data twice,
                // and the kernel leaves it alone until our position has passed it.
                let record = unsafe {
                    let begin = self.producer.address::<u8>().add(at + HEADER);
                    std::slice::from_raw_parts(begin.as_ptr(), length.min(self.size - HEADER))
                };
                found(record)
            });
            let next = read + (HEADER + length).next_multiple_of(HEADER) as u64;
            Self::position_in(&self.consumer).store(next, Ordering::SeqCst);
            if result.is_some() {
                return result;
            }
        }
    }

    fn committed(&mut self, at: usize) -> u32 {
        // SAFETY: a header is aligned to eight bytes, lies within the mapping, and the kernel writes its
        // length atomically.
        let header = unsafe { self.producer.address::<u8>().add(at).cast::<AtomicU32>().as_ref() };
        for look in 0u32.. {
            let length = header.load(Ordering::Acquire);
            if length & BUSY == 0 {
                self.waits += u64::from(look > 0);
                return length;
            }
            if look < SPINS { hint::spin_loop() } else { thread::sleep(PAUSE) }
        }
        unreachable!("the loop has no end")
    }
}

impl AsFd for RingReader {
    /// Readable while there is something to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}
