//! The programs on their way into the kernel.

use std::fs;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;

use aya::maps::Map;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, Iter, Program};
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::sys::bpf::TaskIterator;
use crate::sys::bpf_memory::{MappedWords, RingReader, ring_size};

use super::Options;
use super::refusal::Refusal;
use super::words::{MOST_PIDS, Words};

/// What `../programs/build` makes of `../programs/events.bpf.c`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/source/programs/events.bpf.o"));

/// The tracepoints, each with its programs.
type Programs = [(&'static str, &'static [&'static str]); 3];

const PROGRAMS: Programs =
    [("task_newtask", &["born"]), ("sched_process_exec", &["exec"]), ("sched_process_exit", &["exiting"])];

/// Those that can follow.
const FOLLOWING: Programs = [
    ("task_newtask", &["born_following"]),
    ("sched_process_exec", &["exec"]),
    ("sched_process_exit", &["exiting_following"]),
];

/// Those of which one sees what another one misses; they can follow.
const COPIES: Programs = [
    ("task_newtask", &["born_copy_1", "born_copy_2", "born_copy_3"]),
    ("sched_process_exec", &["exec_copy_1", "exec_copy_2", "exec_copy_3"]),
    ("sched_process_exit", &["exiting_copy_1", "exiting_copy_2", "exiting_copy_3"]),
];

/// `PROC_PID_INIT_INO` (linux/proc_fs.h): the inode of the initial pid namespace.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// 32-bit words of `struct state`: the counts of lost records come first.
pub(super) const LOST_KINDS: usize = 6;
pub(super) const ASLEEP: usize = LOST_KINDS;
const HALF: usize = ASLEEP + 1;
pub(super) const SCANNING: usize = HALF + 1;
pub(super) const MEMBERS: usize = SCANNING + 1;
const ARGUMENTS: usize = MEMBERS + 1;
pub(super) const CAUGHT: usize = ARGUMENTS + 1;
const STATE: NonZeroUsize = NonZeroUsize::new(CAUGHT + 1).expect("more than 0");

/// The programs at work, and what they share with us.
#[derive(Debug)]
pub(super) struct Loaded {
    pub words: Words,
    pub state: MappedWords,
    pub ring: RingReader,
    /// Looks at all tasks for members of followed trees; only if that was asked for.
    pub members: Option<TaskIterator>,
    /// The ring of arguments; only if they were asked for.
    pub arguments: Option<RingReader>,
    /// The first program of each tracepoint, for what the kernel counts of it.
    pub first: Vec<OwnedFd>,
    /// They hold the programs, and those the maps: no other descriptor is kept, which a monitor can have.
    _links: Vec<BtfTracePointLink>,
}

impl Loaded {
    /// Loads and attaches all.
    pub fn new(options: Options) -> Result<Loaded, Refusal> {
        // The verifier gives up when a signal comes (EAGAIN).
        let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
        let loaded = Loaded::load(options);
        if let Ok(mask) = mask {
            let _ = mask.thread_set_mask();
        }
        loaded
    }

    fn load(options: Options) -> Result<Loaded, Refusal> {
        let namespace = fs::metadata("/proc/self/ns/pid").map(|metadata| metadata.ino());
        if namespace.is_ok_and(|inode| inode != INITIAL_PID_NAMESPACE) {
            return Err(Refusal::PidNamespace);
        }
        if !Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err(Refusal::NoBtf);
        }
        let size = |bytes| ring_size(bytes).map_err(Refusal::io("ask for the size of a page"));
        let (size, arguments_size) = (size(options.ring)?, size(options.arguments)?);
        // A loader begins by reading the kernel's types for itself, which takes as long as it does us.
        let (mut loader, btf) = thread::scope(|scope| {
            let btf = scope.spawn(Btf::from_sys_fs);
            (EbpfLoader::new(), btf.join())
        });
        let btf = btf.map_err(|_| Refusal::Object("the kernel's BTF cannot be read".into()))?;
        let btf = btf.map_err(|error| Refusal::of_btf(&error))?;
        let mut object = loader
            .btf(Some(&btf))
            .map_max_entries("ring", size.get() as u32)
            .map_max_entries("arguments", arguments_size.get() as u32)
            .map_max_entries("last", if options.copies { MOST_PIDS.get() as u32 / 2 } else { 1 })
            .verifier_log_level(VerifierLogLevel::DEBUG)
            .load(OBJECT)
            .map_err(|error| Refusal::of_object(&error))?;
        let words = Words::new(map(&object, "words")?).map_err(Refusal::io("map the words"))?;
        let state = MappedWords::new(map(&object, "state")?, STATE).map_err(Refusal::io("map the state"))?;
        let ring = RingReader::new(map(&object, "ring")?, size).map_err(Refusal::io("map the ring"))?;
        let arguments = if options.arguments > 0 {
            let ring = RingReader::new(map(&object, "arguments")?, arguments_size);
            Some(ring.map_err(Refusal::io("map the ring of arguments"))?)
        } else {
            None
        };
        for (at, value) in [(HALF, size.get() as u32 / 2), (ARGUMENTS, arguments.is_some().into())] {
            if let Some(word) = state.get(at) {
                word.store(value, Ordering::SeqCst);
            }
        }
        let all = match options {
            Options { copies: true, .. } => COPIES,
            Options { follow: true, .. } => FOLLOWING,
            _ => PROGRAMS,
        };
        let (mut first, mut links) = (Vec::new(), Vec::new());
        for (tracepoint, names) in all {
            for name in names {
                links.push(attach(&mut object, name, tracepoint, &btf)?);
            }
            first.push(descriptor(&mut object, names[0])?);
        }
        let members = if options.follow { Some(iterator(&mut object, "members", &btf)?) } else { None };
        Ok(Loaded { words, state, ring, members, arguments, first, _links: links })
    }
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, Refusal> {
    object.program_mut(name).ok_or_else(|| Refusal::Object(format!("no program {name}")))
}

/// Has the kernel run a program at a tracepoint, as long as what is returned is held.
fn attach(
    object: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
) -> Result<BtfTracePointLink, Refusal> {
    let refused = |error| Refusal::of_program(name, &error);
    let program: &mut BtfTracePoint = program(object, name)?.try_into().map_err(refused)?;
    program.load(tracepoint, btf).map_err(refused)?;
    let link = program.attach().map_err(refused)?;
    program.take_link(link).map_err(refused)
}

/// The descriptor of a program that is loaded.
fn descriptor(object: &mut Ebpf, name: &'static str) -> Result<OwnedFd, Refusal> {
    let program = program(object, name)?.fd().map_err(|error| Refusal::of_program(name, &error))?;
    keep(program.as_fd())
}

fn iterator(object: &mut Ebpf, name: &'static str, btf: &Btf) -> Result<TaskIterator, Refusal> {
    let refused = |error| Refusal::of_program(name, &error);
    let program: &mut Iter = program(object, name)?.try_into().map_err(refused)?;
    program.load("task", btf).map_err(refused)?;
    let program = program.fd().map_err(refused)?;
    TaskIterator::new(program.as_fd()).map_err(Refusal::io("attach the BPF task iterator"))
}

/// The descriptor of a map.
pub(in crate::source) fn map(object: &Ebpf, name: &str) -> Result<OwnedFd, Refusal> {
    let map = match object.map(name) {
        Some(Map::Array(map) | Map::RingBuf(map)) => map,
        _ => return Err(Refusal::Object(format!("no map {name}"))),
    };
    keep(map.fd().as_fd())
}

fn keep(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Refusal> {
    descriptor.try_clone_to_owned().map_err(|error| Refusal::Io {
        action: "keep a descriptor of the BPF programs",
        errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    })
}
