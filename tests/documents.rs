//! What refers to the documents: every link between them leads somewhere, and so does every fact, rule, promise
//! and page that the project's files cite.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::{Captures, Regex};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown files of the project, from its root.
fn documents() -> Vec<PathBuf> {
    let root = root();
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

/// A pattern, with `.` for line ends too and `^` for the beginning of any line.
fn pattern(text: &str) -> Regex {
    Regex::new(&format!("(?sm){text}")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What each match of the pattern has in this group.
fn all<'t>(text: &'t str, wanted: &str, group: usize) -> Vec<&'t str> {
    let found = |captures: Captures<'t>| captures.get(group).map(|part| part.as_str());
    pattern(wanted).captures_iter(text).filter_map(found).collect()
}

/// All text files of the project by their paths from its root; what is built, found or recorded by tools is none.
fn files() -> BTreeMap<String, String> {
    const NOT_OURS: [&str; 6] = [".git", "target", "corpus", "artifacts", "coverage", "Cargo.lock"];
    let mut folders = vec![root().to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it is there").map(|entry| entry.expect("it is read")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("it has one"));
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            } else if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(fs::read(&path).expect("it is read"))
            {
                let name = path.strip_prefix(root()).expect("it is below").display().to_string();
                files.insert(name, text);
            }
        }
    }
    assert!(files.contains_key("src/driver.rs") && files.contains_key("tests/conformance/suite.h"));
    files
}

/// The text with comments as running text: a citation may go on in the next line.
fn running(text: &str) -> String {
    pattern(r"\s*\n\s*(//[/!]?|\*|#|--)?\s*").replace_all(text, " ").into_owned()
}

/// The facts that a piece of text cites: `fact 14`, `facts 9, 12`, `facts 14-21 and 30 to 33`, `# fact 31e J2`.
fn cited_facts(text: &str) -> Vec<String> {
    const FACT: &str = "J?[0-9]+[a-z]?";
    let lists = format!(r"\b[Ff]acts? +(({FACT})((, | and | to |-| )({FACT})\b)*)");
    let mut facts = Vec::new();
    for list in all(text, &lists, 1) {
        facts.extend(all(list, FACT, 0).into_iter().map(str::to_owned));
        for range in pattern(r"([0-9]+)(-| to )([0-9]+)").captures_iter(list) {
            let end = |group: usize| range[group].parse::<u32>().expect("digits");
            facts.extend((end(1)..end(3)).map(|fact| fact.to_string()));
        }
    }
    facts
}

/// What the documents define: facts of docs/behaviour.md, rules R1 to R4, promises P1 to P7.
fn defined() -> BTreeSet<String> {
    let mut defined: BTreeSet<String> = BTreeSet::new();
    let mut add = |document: &str, wanted: &str| {
        let text = read(&root().join(document));
        defined.extend(all(&text, wanted, 1).into_iter().map(str::to_owned));
    };
    add("docs/behaviour.md", r"^([0-9]+)\. ");
    add("docs/behaviour.md", r"^ *- \*\*([0-9]+[a-z]|J[0-9])\.");
    add("DIFFERENCES.md", r"^- \*\*(R[0-9])\.");
    add("docs/promises.md", r"^- \*\*(P[0-9])\.");
    defined
}

#[test]
fn citations_are_found_in_all_their_forms() {
    let facts = |text: &str| cited_facts(&running(text)).join(" ");
    assert_eq!(facts("nothing is checked (fact 17)."), "17");
    assert_eq!(facts("EINVAL (facts 9, 12); fact 31e"), "9 12 31e");
    assert_eq!(facts("/// all of it (facts\n/// 14-16, 30 to 31)"), "14 16 30 31 14 15 30");
    assert_eq!(facts("ok 1 - case # fact 31e J2; expected \"12\""), "31e J2");
    assert_eq!(facts("artifacts 3, the fact that 4"), "");
}

#[test]
fn every_fact_rule_and_promise_that_is_cited_is_in_the_documents() {
    let defined = defined();
    let numbers: Vec<u32> = defined.iter().filter_map(|label| label.parse().ok()).collect();
    assert_eq!(numbers.iter().max(), Some(&(numbers.len() as u32)), "a fact's number is missing");

    let mut unknown = Vec::new();
    let mut cited = BTreeSet::new();
    for (name, text) in files().iter().filter(|(name, _)| *name != "tests/documents.rs") {
        let text = running(text);
        let mut labels = cited_facts(&text);
        labels.extend(all(&text, r"\b[RJP][1-9]\b", 0).into_iter().map(str::to_owned));
        unknown
            .extend(labels.iter().filter(|label| !defined.contains(*label)).map(|l| format!("{name}: {l}")));
        cited.extend(labels);
    }
    assert!(unknown.is_empty(), "these are in no document:\n{}", unknown.join("\n"));
    for label in ["14", "31e", "J2", "R4", "P2"] {
        assert!(cited.contains(label), "{label} is cited, and was not found");
    }
}

#[test]
fn every_page_that_is_cited_exists_with_its_heading() {
    let files = files();
    let names: BTreeSet<&str> = files.keys().filter_map(|name| name.rsplit('/').next()).collect();
    let mut broken = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| !name.ends_with("CHANGELOG.md")) {
        for page in all(text, r"\b[\w-]+\.md\b", 0) {
            if !names.contains(page) {
                broken.push(format!("{name}: {page}"));
            }
        }
        for place in pattern(r"\b(docs/[\w-]+\.md)#([\w-]+)").captures_iter(text) {
            if !files.get(&place[1]).is_some_and(|page| anchors(page).iter().any(|a| a == &place[2])) {
                broken.push(format!("{name}: {}", &place[0]));
            }
        }
    }
    assert!(broken.is_empty(), "these pages or headings do not exist:\n{}", broken.join("\n"));
}

#[test]
fn every_paragraph_of_kernel_facts_is_cited() {
    let files = files();
    let page = "docs/kernel-facts.md";
    let others = files.iter().filter(|(name, _)| *name != page).map(|(_, text)| text);
    let cited: Vec<_> = others.flat_map(|text| all(text, r"docs/kernel-facts\.md#([\w-]+)", 1)).collect();
    let paragraphs = files[page].lines().filter(|line| line.starts_with("### "));
    let paragraphs = anchors(&paragraphs.collect::<Vec<_>>().join("\n"));
    let idle: Vec<_> = paragraphs.iter().filter(|paragraph| !cited.contains(&paragraph.as_str())).collect();
    assert!(paragraphs.len() > 10 && idle.is_empty(), "no file cites these: {idle:?}");
}

/// The cases that docs/behaviour.md names are in the record of the original, and check the fact that names them.
#[test]
fn the_cases_of_a_fact_check_it() {
    let record = read(&root().join("tests/conformance/original64.tap"));
    let cases: BTreeMap<_, _> = pattern(r"^ok [0-9]+ - (\w+) # fact ([^;]+);")
        .captures_iter(&record)
        .map(|case| (case[1].to_owned(), case[2].to_owned()))
        .collect();

    let page = read(&root().join("docs/behaviour.md"));
    let begins = pattern(r"^(([0-9]+)\. | *- \*\*([0-9]+[a-z]|J[0-9])\.|#)");
    let starts: Vec<_> = begins.find_iter(&page).map(|found| found.start()).chain([page.len()]).collect();
    let mut wrong = Vec::new();
    let mut found = 0;
    for text in starts.windows(2).map(|ends| &page[ends[0]..ends[1]]) {
        let fact = begins.captures(text).and_then(|c| c.get(2).or(c.get(3)));
        let Some(fact) = fact.map(|fact| fact.as_str()) else { continue };
        let listed = all(text, r"\bCases?: ((`\w+`,?\s+)*`\w+`)\.", 1);
        let listed: Vec<_> = listed.iter().flat_map(|list| all(list, r"\w+", 0)).collect();
        for name in all(text, r"`(\w+)`", 1) {
            match cases.get(name) {
                Some(facts) if facts.split(' ').any(|one| one == fact) => found += 1,
                None if !listed.contains(&name) => {}
                facts => wrong.push(format!("fact {fact}: {name} checks {facts:?}")),
            }
        }
    }
    assert!(found > 100, "only {found} cases were found");
    assert!(wrong.is_empty(), "these do not check it:\n{}", wrong.join("\n"));
}
