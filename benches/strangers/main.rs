//! What each vfork, new thread, fork and exec of strangers costs while somebody listens to such events.
//!
//! `cargo bench --bench strangers [-- [-o FILE] [--rounds ROUNDS] [NAME...]]`, as root on an idle machine; forkstat
//! and bpftrace must be installed. A round measures with a listener, and without it before and afterwards; the
//! ratio is the median of the rounds' ratios. On each processor there is a stranger. A listener that takes long to
//! start is measured five times after each start. With NAMEs, only those listeners are measured; FILE gets a line for
//! each of them and each operation, behind what it holds.
//!
//! Ours watches numbers that nobody has. The runs of BPF programs, which the kernel counts for that time only, are
//! measured apart.

#[path = "../daemon/mod.rs"]
mod daemon;
mod listeners;
mod operations;
mod programs;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use listeners::{Listener, Use};
use operations::{Cost, Operation, SharedNumber, burst};
use programs::{Counting, Runs};

const USAGE: &str = "usage: strangers [-o FILE] [--rounds ROUNDS] [NAME...]";

/// The columns: what the file calls them, and how wide they are on the screen.
const COLUMNS: [(&str, usize); 10] = [
    ("listener", 20),
    ("operation", 9),
    ("ns", 8),
    ("ratio", 6),
    ("processor_ns", 12),
    ("processor_ratio", 15),
    ("program_ns", 10),
    ("wakes", 7),
    ("operations", 10),
    ("listener_s_per_100000", 21),
];

struct Arguments {
    output: Option<PathBuf>,
    rounds: usize,
    listeners: Vec<(&'static str, Listener)>,
}

impl Arguments {
    fn read() -> Option<Arguments> {
        let mut found = Arguments { output: None, rounds: 15, listeners: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo says that.
                "--bench" => {}
                "-o" => found.output = Some(words.next()?.into()),
                "--rounds" => found.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
                name => found.listeners.push(*listeners::ALL.iter().find(|(known, _)| *known == name)?),
            }
        }
        if found.listeners.is_empty() {
            found.listeners = listeners::ALL.to_vec();
        }
        Some(found)
    }
}

fn main() -> io::Result<()> {
    let Some(arguments) = Arguments::read() else {
        let names: Vec<_> = listeners::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("{USAGE}\nNAMEs: {}", names.join(" "));
        std::process::exit(2);
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = || fs::read_to_string("/proc/loadavg");
    println!("Linux {}, {} rounds, load {}", kernel.trim(), arguments.rounds, load()?.trim());
    println!("{}", on_screen(&COLUMNS.map(|(name, _)| name.to_owned())));
    let ready = SharedNumber::new();
    for (name, listener) in &arguments.listeners {
        let rows = measure(*listener, arguments.rounds, &ready);
        for (operation, row) in Operation::ALL.iter().zip(&rows) {
            println!("{}", on_screen(&row.fields(name, *operation)));
        }
        if let Some(path) = &arguments.output {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
            if file.metadata()?.len() == 0 {
                writeln!(file, "{}", COLUMNS.map(|(name, _)| name).join("\t"))?;
            }
            for (operation, row) in Operation::ALL.iter().zip(&rows) {
                writeln!(file, "{}", row.fields(name, *operation).join("\t"))?;
            }
        }
    }
    println!("load {}", load()?.trim());
    Ok(())
}

/// What an operation costs with a listener.
struct Row {
    /// Medians.
    cost: Cost,
    ratio: Cost,
    /// Nanoseconds of a run of a BPF program of the listener's.
    program: Option<f64>,
    used: Use,
    operations: u64,
}

impl Row {
    fn listener_seconds(&self) -> f64 {
        self.used.processor as f64 / 1e9 / self.operations as f64 * 1e5
    }

    fn fields(&self, listener: &str, operation: Operation) -> [String; COLUMNS.len()] {
        [
            listener.to_owned(),
            operation.name().to_owned(),
            format!("{:.0}", self.cost.elapsed),
            format!("{:.3}", self.ratio.elapsed),
            format!("{:.0}", self.cost.processor),
            format!("{:.3}", self.ratio.processor),
            self.program.map_or("-".to_owned(), |time| format!("{time:.0}")),
            self.used.sleeps.to_string(),
            self.operations.to_string(),
            format!("{:.5}", self.listener_seconds()),
        ]
    }
}

/// A line of the table: names to the left, numbers to the right.
fn on_screen(fields: &[String; COLUMNS.len()]) -> String {
    let places = fields.iter().zip(COLUMNS).enumerate();
    let padded = places.map(
        |(at, (field, (_, width)))| {
            if at < 2 { format!("{field:<width$}") } else { format!("{field:>width$}") }
        },
    );
    padded.collect::<Vec<_>>().join(" ")
}

/// What each operation costs.
type Costs = [Cost; Operation::ALL.len()];

fn measure(listener: Listener, rounds: usize, ready: &SharedNumber) -> Vec<Row> {
    let programs = time_of_programs(listener, ready);
    let at_once = listener.rounds_at_once();
    let alone = || -> Vec<Costs> {
        (0..at_once).map(|_| Operation::ALL.map(|operation| burst(operation, ready).cost)).collect()
    };
    let mut costs = vec![Vec::new(); Operation::ALL.len()];
    let mut used = vec![(Use::default(), 0); Operation::ALL.len()];
    let mut before = alone();
    for _ in 0..rounds.div_ceil(at_once) {
        let running = listener.start();
        let mut last = running.used();
        let mut with = vec![Vec::new(); at_once];
        for with in &mut with {
            for (operation, used) in Operation::ALL.iter().zip(&mut used) {
                let burst = burst(*operation, ready);
                let now = running.used();
                used.0 += now.since(last);
                used.1 += burst.operations;
                last = now;
                with.push(burst.cost);
            }
        }
        drop(running);
        let after = alone();
        for ((with, before), after) in with.iter().zip(&before).zip(&after) {
            for (at, costs) in costs.iter_mut().enumerate() {
                costs.push((with[at], before[at].between(after[at])));
            }
        }
        before = after;
    }
    let rows = costs.iter().zip(&used).zip(&programs);
    rows.map(|((costs, (used, operations)), program)| {
        let both = |of: &dyn Fn(Cost, Cost) -> Cost| {
            let all: Vec<Cost> = costs.iter().map(|(with, without)| of(*with, *without)).collect();
            Cost {
                elapsed: median(all.iter().map(|cost| cost.elapsed)),
                processor: median(all.iter().map(|cost| cost.processor)),
            }
        };
        Row {
            cost: both(&|with, _| with),
            ratio: both(&Cost::ratio),
            program: *program,
            used: *used,
            operations: *operations,
        }
    })
    .collect()
}

/// What a run of the listener's programs takes, for each operation.
fn time_of_programs(listener: Listener, ready: &SharedNumber) -> Vec<Option<f64>> {
    let others = programs::ids();
    let _running = listener.start();
    let _counting = Counting::start();
    let time = |operation: &Operation| {
        let before = Runs::of_new(&others);
        burst(*operation, ready);
        Runs::of_new(&others).since(before).each()
    };
    Operation::ALL.iter().map(time).collect()
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
