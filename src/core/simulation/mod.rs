//! The core, simulated: a toy kernel drives it from a seed through random schedules, and a plain model checks
//! after each step what [promises P2 to P5](../../../docs/promises.md) and the driver's rules demand.
//!
//! `KMONITOR_SIMULATION_SECONDS` has the test try fresh seeds for so long; `KMONITOR_SIMULATION_SEED` tells of one
//! run, step by step.

mod ends;
mod model;
mod parts;
mod tape;
mod tasks;
mod toys;
mod turns;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::Driver;
use crate::ids::{Instance, MonitorId, Tid};
use crate::observe::Observer;
use crate::registry::{Keys, Limits, Registry};

use super::sweep::Ended;
use super::{Core, Options};
use tape::Tape;
use toys::Toy;
use world::World;

/// Steps of tasks in a run, before everything comes to rest.
const STEPS: u32 = 400;

/// What a run has come to.
struct Outcome {
    fault: Option<String>,
    choices: Vec<u32>,
    log: Vec<String>,
    steps: u64,
    delivered: u64,
}

/// One run.
fn run(tape: Tape) -> Outcome {
    let toy = Toy::new(World::new(tape, STEPS));
    let served = panic::catch_unwind(AssertUnwindSafe(|| serve(&toy)));
    let fault = served.unwrap_or_else(|_| Err("the core panicked".into())).err();
    let world = std::rc::Rc::try_unwrap(toy.world).ok().expect("the core is gone").into_inner();
    Outcome {
        fault: world.fault.or(fault),
        choices: world.tape.into_choices(),
        log: world.log,
        steps: world.steps,
        delivered: world.model.delivered,
    }
}

fn serve(toy: &Toy) -> Result<(), String> {
    let registry = Arc::new(Registry::new(Limits::default()));
    let driver = Driver::new(registry.clone(), 1000);
    let observer = Observer::silent();
    let (node, source) = (toy.clone(), toy.clone());
    let mut core = Core::new(toy.clone(), node, source, driver, registry, observer, Options::default());
    core.slice = 1;
    until_at_rest(&mut core, toy)?;
    toy.world.borrow().model.rest()?;
    toy.world.borrow_mut().end();
    until_at_rest(&mut core, toy)?;
    toy.world.borrow().model.rest()?;
    let left = [
        ("registrations", core.registry.len()),
        ("open files", core.driver.open_files()),
        ("requests", core.waiting.len()),
        ("answers that are put off", core.put_off.len()),
        ("registrations of ended threads", core.owing.len()),
        ("files and monitors to be swept up", usize::from(!core.sweep.is_empty())),
        ("watched tasks", toy.world.borrow().source.watched.len()),
        ("signals that wait", usize::from(core.outbox.next_try().is_some())),
        ("files whose closes count", usize::from(!core.closings.is_empty())),
    ];
    left.into_iter()
        .find(|(_, count)| *count > 0)
        .map_or(Ok(()), |(what, count)| Err(format!("left at the end: {count} {what}")))
}

fn until_at_rest(core: &mut Core<Toy, Toy, Toy>, toy: &Toy) -> Result<(), String> {
    toy.world.borrow_mut().at_rest = false;
    let nobody = std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
    let stop = std::os::fd::AsFd::as_fd(&nobody);
    for _ in 0..20_000 {
        let mut world = toy.world.borrow_mut();
        world.looks = 0;
        if world.tape.once_in(8) {
            world.say("a monitor with many registrations ends".into());
            let end = [1040, 1200][world.tape.choose(2)];
            let targets = (1000..end).map(Tid).collect();
            let monitor = MonitorId { instance: Instance(u64::MAX), tid: Tid(1000) };
            core.sweep.left.push_back(Ended::Process(Keys::from_iter([(monitor, targets)])));
        }
        drop(world);
        core.work().map_err(|error| error.to_string())?;
        if !core.sweep.is_empty() {
            return Err("it sleeps, and something is to be swept up".into());
        }
        core.sleep(stop).map_err(|error| error.to_string())?;
        let world = toy.world.borrow();
        if let Some(fault) = &world.fault {
            return Err(fault.clone());
        }
        if world.at_rest && !world.calls_the_core() {
            return Ok(());
        }
    }
    Err(format!(
        "it does not come to rest: signals wait: {}, closes are in doubt: {}, answers are put off: {}, something calls: {}",
        core.outbox.next_try().is_some(),
        core.closings.next_look().is_some(),
        core.put_off.len(),
        toy.world.borrow().calls_the_core(),
    ))
}

/// Cuts out of a faulty run what is not needed for a fault.
fn shrink(mut choices: Vec<u32>) -> Outcome {
    let mut best = run(Tape::from_choices(choices.clone()));
    let kind =
        |outcome: &Outcome| outcome.fault.as_ref().map(|fault| fault.split(':').next().map(str::to_owned));
    let sought = kind(&best);
    let is_faulty = |choices: &[u32]| {
        let outcome = run(Tape::from_choices(choices.to_vec()));
        (kind(&outcome) == sought).then_some(outcome)
    };
    let begin = Instant::now();
    let mut length = choices.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < choices.len() && begin.elapsed() < Duration::from_secs(20) {
            let end = (at + length).min(choices.len());
            let without = [&choices[..at], &choices[end..]].concat();
            match is_faulty(&without) {
                Some(outcome) => (choices, best) = (outcome.choices.clone(), outcome),
                None => at = end,
            }
        }
        length /= 2;
    }
    best
}

fn report(seed: u64, outcome: Outcome) -> String {
    let fault = outcome.fault.clone().unwrap_or_default();
    let least = shrink(outcome.choices);
    format!(
        "seed {seed}: {fault}\nthe same with fewer steps: {:?}\n    {}\nrepeat it with KMONITOR_SIMULATION_SEED={seed} cargo test --lib core::simulation",
        least.fault,
        least.log.join("\n    ")
    )
}

fn kept_seeds() -> Vec<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/simulation/seeds");
    let text = std::fs::read_to_string(path).expect("the kept seeds");
    text.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn the_core_keeps_its_promises() {
    if let Some(seed) = variable("KMONITOR_SIMULATION_SEED") {
        let outcome = run(Tape::from_seed(seed));
        println!("{}", outcome.log.join("\n"));
        assert_eq!(outcome.fault, None);
        return;
    }
    let (mut steps, mut delivered) = (0, 0);
    let mut check = |seed| {
        let outcome = run(Tape::from_seed(seed));
        (steps, delivered) = (steps + outcome.steps, delivered + outcome.delivered);
        if outcome.fault.is_some() {
            panic!("{}", report(seed, outcome));
        }
    };
    let begin = Instant::now();
    kept_seeds().into_iter().chain(0..300).for_each(&mut check);
    let fresh = Duration::from_secs(variable("KMONITOR_SIMULATION_SECONDS").unwrap_or(0));
    let mut seeds = 0;
    while begin.elapsed() < fresh {
        check(fastrand::u64(..));
        seeds += 1;
    }
    assert!(delivered > 1000, "next to nothing was tried");
    println!("{steps} steps, {delivered} signals in {:?}; {seeds} fresh seeds", begin.elapsed());
}
