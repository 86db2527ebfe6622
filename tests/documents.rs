//! What the documents say of one another: every link in them leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

/// All Markdown files of the project, from its root.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "fuzz", "tests/conformance"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).expect("it is there"));
    files
        .map(|file| file.expect("it is read").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The text without its code, which may hold anything.
fn prose(text: &str) -> String {
    let outside: Vec<_> = text.split("\n```").step_by(2).collect();
    outside.join("\n").split('`').step_by(2).collect()
}

/// Where the links of a text lead to.
fn links(text: &str) -> Vec<String> {
    let ends = |rest: &str| rest.split_once(')').map(|(link, _)| link.to_owned());
    prose(text).split("](").skip(1).filter_map(ends).filter(|link| !link.contains("://")).collect()
}

/// The anchors of a text's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut found = 0;
    for document in documents() {
        let text = read(&document);
        for link in links(&text) {
            found += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().expect("it is in a folder").join(path),
            };
            let leads =
                target.exists() && (anchor.is_empty() || anchors(&read(&target)).iter().any(|a| a == anchor));
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(found > 20, "only {found} links were found");
    assert!(broken.is_empty(), "these links lead nowhere:\n{}", broken.join("\n"));
}
