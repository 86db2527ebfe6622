//! The node as a character device, in a guest whose kernel has CUSE.

mod choice;
mod circumstances;
mod doctor;
mod examples;
mod lifecycle;
mod place;
pub mod scenario;
mod udev;

use scenario::{Scenario, Stage, guest, play};

/// The guest without udev.
static CUSE: Stage = Stage::new(|| {
    let scenarios: Vec<&Scenario> = [lifecycle::ALL, place::ALL, examples::ALL, choice::ALL, doctor::ALL]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    play(examples::add(guest()?), &scenarios)
});
