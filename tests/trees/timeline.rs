//! The trace, read back by the published schema, and the picture.

use super::{read, run_script, scratch};
use crate::device::client::project;
use quick_xml::events::Event;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A message of protobuf's text format: its fields in order.
#[derive(Debug, Default)]
struct Message(Vec<(String, Value)>);

#[derive(Debug)]
enum Value {
    Text(String),
    Message(Message),
}

impl Message {
    fn parse(lines: &mut dyn Iterator<Item = &str>) -> Message {
        let mut message = Message::default();
        while let Some(line) = lines.next().map(str::trim).filter(|line| *line != "}") {
            let (name, value) = match (line.strip_suffix(" {"), line.split_once(": ")) {
                (Some(name), _) => (name, Value::Message(Message::parse(lines))),
                (None, Some((name, value))) => (name, Value::Text(value.trim_matches('"').to_owned())),
                (None, None) => panic!("{line}"),
            };
            // Of a field that the schema does not have, protoc knows only the number.
            assert!(
                name.starts_with(|letter: char| letter.is_ascii_lowercase()),
                "not in the schema: {line}"
            );
            message.0.push((name.to_owned(), value));
        }
        message
    }

    fn messages(&self, wanted: &str) -> Vec<&Message> {
        let is_it =
            |(name, value): &'_ &(String, Value)| name == wanted && matches!(value, Value::Message(_));
        let fields = self.0.iter().filter(is_it);
        fields
            .filter_map(|(_, value)| if let Value::Message(message) = value { Some(message) } else { None })
            .collect()
    }

    fn text(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == wanted => Some(text.as_str()),
            _ => None,
        })
    }
}

/// The packets of a trace.
fn decode(trace: &Path) -> Message {
    let mut protoc = Command::new("protoc");
    protoc.arg("--proto_path").arg(project("tests/trees"));
    protoc.args(["--decode=perfetto.protos.Trace", "perfetto_trace.proto"]);
    let output = protoc.stdin(File::open(trace).expect("it is there")).stderr(Stdio::piped()).output();
    let output = output.expect("these tests need protoc (Debian: protobuf-compiler)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    Message::parse(&mut text.lines())
}

/// A slice: its name, its track's name, and its details.
struct Slice {
    name: String,
    track: String,
    details: HashMap<String, String>,
    is_closed: bool,
}

#[test]
fn a_trace_has_a_track_for_each_process_and_an_arrow_for_each_fork() {
    let scratch = scratch();
    let file = scratch.path("trace");
    assert_eq!(run_script("timeline", &["-o", &file.to_string_lossy()]).code(), 3);
    let trace = decode(&file);
    let packets = trace.messages("packet");
    let mut tracks: HashMap<&str, (&str, Option<&str>)> = HashMap::new();
    let mut slices: Vec<Slice> = Vec::new();
    let (mut open, mut flows, mut arrows) = (HashMap::new(), HashMap::new(), Vec::new());
    for packet in &packets {
        for track in packet.messages("track_descriptor") {
            let uuid = track.text("uuid").expect("each track has one");
            tracks.insert(uuid, (track.text("name").expect("each has one"), track.text("parent_uuid")));
        }
        for event in packet.messages("track_event") {
            assert_eq!(packet.text("timestamp_clock_id"), Some("3"), "CLOCK_MONOTONIC");
            assert!(packet.text("timestamp").is_some());
            let uuid = event.text("track_uuid").expect("it is on one");
            let track = tracks[uuid].0;
            match event.text("type").expect("each has one") {
                "TYPE_SLICE_BEGIN" => {
                    let details = event.messages("debug_annotations").into_iter().map(|detail| {
                        let values = ["string_value", "int_value", "uint_value", "bool_value"];
                        let value = values.iter().find_map(|value| detail.text(value)).unwrap_or("(list)");
                        (detail.text("name").expect("each has one").to_owned(), value.to_owned())
                    });
                    let name = event.text("name").expect("each has one").to_owned();
                    open.insert(uuid, slices.len());
                    slices.push(Slice {
                        name,
                        track: track.to_owned(),
                        details: details.collect(),
                        is_closed: false,
                    });
                }
                "TYPE_SLICE_END" => slices[open.remove(uuid).expect("it has begun")].is_closed = true,
                "TYPE_INSTANT" => drop(flows.insert(event.text("flow_ids").expect("a fork"), track)),
                kind => panic!("{kind}"),
            }
            arrows.extend(event.text("terminating_flow_ids").map(|flow| (flows[flow], track)));
        }
    }
    let clocks = packets[0].messages("clock_snapshot")[0].messages("clocks");
    assert_eq!(clocks.iter().filter_map(|clock| clock.text("clock_id")).collect::<Vec<_>>(), ["3", "1"]);
    assert_eq!(tracks.len(), 5);
    assert!(slices.iter().all(|slice| slice.is_closed));
    let names: Vec<_> = slices.iter().map(|slice| slice.name.as_str()).collect();
    assert_eq!(names[0], "sh", "kmonitor's own child begins with its program");
    assert_eq!(names.iter().filter(|name| **name == "(sh)").count(), 4, "a fork each: {names:?}");
    let of = |name: &str, detail: &str, value: &str| {
        let is_it = |slice: &&Slice| {
            slice.name == name && slice.details.get(detail).is_some_and(|found| found == value)
        };
        slices.iter().find(is_it).unwrap_or_else(|| panic!("no {name} with {detail} {value} in {names:?}"))
    };
    let executed = of("true", "command", r#"true with words \'a b\' \'<&>\'"#);
    for (detail, value) in [("exit_code", "0"), ("uid", "0"), ("inherited", "false"), ("args", "(list)")] {
        assert_eq!(executed.details.get(detail).map(String::as_str), Some(value), "{:?}", executed.details);
    }
    assert!(executed.details.contains_key("cpu_ns") && executed.details.contains_key("peak_memory"));
    assert!(of("sh", "signal", "9").details.contains_key("duration_ns"));
    let root = of("sh", "exit_code", "3");
    // Each process but the command itself comes by an arrow from its parent, below whose track its own lies.
    assert_eq!(arrows.len(), 4);
    for (from, to) in &arrows {
        let parent = tracks.values().find(|(name, _)| name == to).and_then(|(_, parent)| *parent);
        assert_eq!(tracks[parent.expect("it has one")].0, *from);
    }
    assert_eq!(arrows.iter().filter(|(from, _)| *from == root.track).count(), 3);
}

#[test]
fn a_picture_is_well_formed_and_names_each_process() {
    let scratch = scratch();
    let file = scratch.path("picture.svg");
    assert_eq!(run_script("timeline", &["-o", &file.to_string_lossy()]).code(), 3);
    let picture = read(&file);
    let mut reader = quick_xml::Reader::from_str(&picture);
    let (mut depth, mut texts) = (0, 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {picture}")) {
            Event::Start(start) => {
                depth += 1;
                texts += usize::from(start.name().as_ref() == "title");
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((depth, texts), (0, 6), "the picture and each process have a title");
    for text in [
        "sh -c &apos;kill -9 $$&apos;  ✗ SIGKILL</text>",
        "sh → sh → true with words &apos;a b&apos; &apos;&lt;&amp;&gt;&apos;</text>",
        "(sh)</text>",
        "5 processes in ",
        ", 2 failed",
    ] {
        assert!(picture.contains(text), "no {text} in {picture}");
    }
}
