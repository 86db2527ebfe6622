//! A trace for ui.perfetto.dev: a track a process, below that of its parent; a slice a program; an arrow a fork.

mod annotation;
mod schema;

use std::io::{self, Write};

use jiff::Timestamp;
use kmonitor::history::{Birth, End, History, Life};
use prost::Message;

use crate::cli::words;
use annotation::Details;
use schema::{
    BuiltinClock, ChildTracksOrdering, Clock, ClockSnapshot, EventType, SEQ_INCREMENTAL_STATE_CLEARED,
    SiblingMergeBehavior, Trace, TracePacket, TrackDescriptor, TrackEvent,
};

/// Everything is of one sequence of packets, of which this is the number.
const SEQUENCE: u32 = 1;

/// The track of what is missing; that of process N is N and 2.
const LOST_TRACK: u64 = 1;

/// Writes the trace.
pub fn write(history: &History, to: &mut impl Write) -> io::Result<()> {
    let mut trace = Writer { to, buffer: Vec::new(), is_first: true };
    if let Some((at, time)) = history.clock() {
        trace.packet(TracePacket { clock_snapshot: Some(snapshot(at, time)), ..TracePacket::default() })?;
    }
    if !history.losses().is_empty() {
        let name = Some("events that were lost".to_owned());
        let track = TrackDescriptor { uuid: Some(LOST_TRACK), name, ..TrackDescriptor::default() };
        trace.packet(TracePacket { track_descriptor: Some(track), ..TracePacket::default() })?;
    }
    for index in history.in_order() {
        let track = descriptor(index, history.life(index));
        trace.packet(TracePacket { track_descriptor: Some(track), ..TracePacket::default() })?;
    }
    let mut events = Vec::new();
    for (index, life) in history.lives().iter().enumerate() {
        add_life(index, life, &mut events);
    }
    for loss in history.losses() {
        let what = words::lost(loss.count, &loss.kinds);
        let debug_annotations = Details::of_loss(loss.count, what.clone());
        let event = TrackEvent { debug_annotations, ..event(EventType::Instant, LOST_TRACK, Some(what)) };
        events.push((loss.at, event));
    }
    // At the same time on the same track, an end stays before the beginning that comes after it.
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events {
        trace.packet(TracePacket {
            timestamp: Some(at),
            timestamp_clock_id: Some(BuiltinClock::Monotonic as u32),
            track_event: Some(event),
            ..TracePacket::default()
        })?;
    }
    Ok(())
}

struct Writer<'a, W> {
    to: &'a mut W,
    buffer: Vec<u8>,
    is_first: bool,
}

impl<W: Write> Writer<'_, W> {
    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        let flags = std::mem::take(&mut self.is_first).then_some(SEQ_INCREMENTAL_STATE_CLEARED);
        let packet =
            TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), sequence_flags: flags, ..packet };
        self.buffer.clear();
        Trace { packet: vec![packet] }.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.to.write_all(&self.buffer)
    }
}

/// What time it was by the wall clock.
fn snapshot(at: u64, time: Timestamp) -> ClockSnapshot {
    let clock = |clock: BuiltinClock, timestamp| Clock { clock_id: Some(clock as u32), timestamp };
    let realtime = u64::try_from(time.as_nanosecond()).ok();
    let mut clocks = vec![clock(BuiltinClock::Monotonic, Some(at))];
    clocks.extend(realtime.map(|realtime| clock(BuiltinClock::Realtime, Some(realtime))));
    ClockSnapshot { clocks, primary_trace_clock: Some(BuiltinClock::Monotonic.into()) }
}

fn track(index: usize) -> u64 {
    index as u64 + 2
}

/// Flows have numbers of their own.
fn flow(index: usize) -> u64 {
    index as u64 + 1
}

fn descriptor(index: usize, life: &Life) -> TrackDescriptor {
    let name = words::name(life.program().and_then(|program| program.name()));
    TrackDescriptor {
        uuid: Some(track(index)),
        parent_uuid: life.parent.map(track),
        name: Some(format!("{name} {}", life.pid)),
        child_ordering: Some(ChildTracksOrdering::Chronological.into()),
        // Two with the same name are two processes.
        sibling_merge_behavior: Some(SiblingMergeBehavior::None.into()),
    }
}

fn event(kind: EventType, track: u64, name: Option<String>) -> TrackEvent {
    TrackEvent { r#type: Some(kind.into()), track_uuid: Some(track), name, ..TrackEvent::default() }
}

/// What happens to a process, and the fork on its parent's track.
fn add_life(index: usize, life: &Life, events: &mut Vec<(u64, TrackEvent)>) {
    let has_arrow = matches!(life.birth, Birth::Fork(_)) && life.parent.is_some();
    if let (Birth::Fork(at), Some(parent)) = (life.birth, life.parent) {
        let name = Some(format!("fork {}", life.pid));
        let mut fork = event(EventType::Instant, track(parent), name);
        fork.categories.push("fork".to_owned());
        fork.flow_ids.push(flow(index));
        events.push((at, fork));
    }
    let mut slices: Vec<_> = life.runs.iter().map(|run| (run.at, Some(run))).collect();
    // Nothing is known of what it executed at first.
    if slices.first().is_none_or(|(at, _)| *at > life.first()) {
        slices.insert(0, (life.first(), None));
    }
    for (number, (at, run)) in slices.iter().enumerate() {
        let is_last = number + 1 == slices.len();
        let name = words::name(run.and_then(|run| run.program.name()));
        let (name, category) = match run {
            Some(run) if run.is_inherited => (format!("({name})"), "fork"),
            _ if life.has_failed() && is_last => (name, "failed"),
            _ => (name, "exec"),
        };
        let mut begin = event(EventType::SliceBegin, track(index), Some(name));
        begin.categories.push(category.to_owned());
        begin.debug_annotations = Details::of_run(life, *run, is_last);
        if has_arrow && number == 0 {
            begin.terminating_flow_ids.push(flow(index));
        }
        events.push((*at, begin));
        let end = match slices.get(number + 1) {
            Some((next, _)) => *next,
            // Perfetto shows a slice without an end as one that goes on.
            None if life.end == End::Runs => continue,
            None => life.last,
        };
        events.push((end, event(EventType::SliceEnd, track(index), None)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use crate::cli::history::sample::{Event, build, history};

    fn packets(history: &History) -> Vec<TracePacket> {
        let mut bytes = Vec::new();
        write(history, &mut bytes).expect("memory takes it");
        Trace::decode(&bytes[..]).expect("a trace").packet
    }

    fn kind(event: &TrackEvent) -> EventType {
        event.r#type()
    }

    #[test]
    fn each_process_has_a_track_below_its_parents() {
        let packets = packets(&build());
        let tracks: Vec<_> = packets.iter().filter_map(|packet| packet.track_descriptor.as_ref()).collect();
        let names: Vec<_> = tracks.iter().map(|track| (track.name(), track.parent_uuid)).collect();
        assert_eq!(
            names,
            [
                ("events that were lost", None),
                ("make 10", None),
                ("cc 11", Some(2)),
                ("cc 12", Some(3)),
                ("? 13", Some(2)),
                ("sleep 14", None)
            ]
        );
        let clocks = &packets[0].clock_snapshot.as_ref().expect("it is first").clocks;
        let clocks: Vec<_> = clocks.iter().map(|clock| (clock.clock_id(), clock.timestamp())).collect();
        assert_eq!(clocks, [(3, 1_000_000_000), (1, 0)]);
    }

    #[test]
    fn slices_are_closed_in_order_and_arrows_lead_from_forks_to_children() {
        let many: Vec<_> = (2..40)
            .flat_map(|pid| [Event::Fork(pid, pid / 2, &["sh"]), Event::Exec(pid, &["true"])])
            .chain((20..40).map(|pid| Event::Exit(pid, pid % 3)))
            .collect();
        for (history, arrows, open) in [(build(), 3, 2), (history(&many), 38, 19)] {
            let mut depths: HashMap<u64, i32> = HashMap::new();
            let mut flows = HashMap::new();
            let (mut last, mut ended) = (0, 0);
            for packet in packets(&history) {
                let Some(event) = &packet.track_event else { continue };
                assert!(packet.timestamp() >= last, "in order");
                last = packet.timestamp();
                let depth = depths.entry(event.track_uuid()).or_default();
                *depth += match kind(event) {
                    EventType::SliceBegin => 1,
                    EventType::SliceEnd => -1,
                    _ => 0,
                };
                assert!((0..=1).contains(depth), "one slice at a time: {event:?}");
                flows.extend(event.flow_ids.iter().map(|flow| (*flow, event.track_uuid())));
                for flow in &event.terminating_flow_ids {
                    let from = flows[flow];
                    let child = usize::try_from(event.track_uuid()).expect("small") - 2;
                    assert_eq!(history.life(child).parent.map(track), Some(from));
                    ended += 1;
                }
            }
            assert_eq!((flows.len(), ended), (arrows, arrows));
            assert_eq!(depths.values().filter(|depth| **depth == 1).count(), open, "those that still run");
        }
    }

    #[test]
    fn details_tell_what_is_known() {
        let packets = packets(&build());
        let events: Vec<_> = packets.iter().filter_map(|packet| packet.track_event.as_ref()).collect();
        let details = |name: &str, track: u64| {
            let is_it = |event: &&&TrackEvent| event.name() == name && event.track_uuid() == track;
            let event = events.iter().find(is_it).unwrap_or_else(|| panic!("no {name} in {events:#?}"));
            let value = |detail: &schema::DebugAnnotation| match detail {
                detail if !detail.array_values.is_empty() => detail
                    .array_values
                    .iter()
                    .map(|value| value.string_value().to_owned())
                    .collect::<Vec<_>>()
                    .join("|"),
                schema::DebugAnnotation { string_value: Some(text), .. } => text.clone(),
                schema::DebugAnnotation { int_value: Some(number), .. } => number.to_string(),
                schema::DebugAnnotation { uint_value: Some(number), .. } => number.to_string(),
                detail => detail.bool_value.unwrap_or_default().to_string(),
            };
            let details = event.debug_annotations.iter();
            details.map(|detail| format!("{}={}", detail.name(), value(detail))).collect::<Vec<_>>()
        };
        let cc = details("cc", 3);
        for expected in ["command=/usr/bin/cc a.c", "args=/usr/bin/cc|a.c", "exit_code=1", "cpu_ns=2000000"] {
            assert!(cc.contains(&expected.to_owned()), "{expected} is not in {cc:?}");
        }
        assert!(details("?", 5).contains(&"signal=9".to_owned()));
        assert!(details("make", 2).contains(&"end=still ran when the recording ended".to_owned()));
        assert!(details("sleep", 6).iter().any(|detail| detail.starts_with("birth=unknown")));
        assert!(details("4 events (forks)", LOST_TRACK).contains(&"count=4".to_owned()));
    }
}
