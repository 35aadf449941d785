//! The house rules: which room may import which, and where a few things may be named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The floor of each room. The table in `src/lib.rs` says the same to a reader.
const FLOORS: [(&str, u8); 14] = [
    ("cli", 6),
    ("app", 5),
    ("api", 4),
    ("worker", 4),
    ("outbox", 4),
    ("intake", 3),
    ("engine", 3),
    ("plan", 2),
    ("store", 2),
    ("broker", 2),
    ("workflow", 1),
    ("domain", 0),
    ("config", 0),
    ("faults", 0),
];

const LONGEST_FILE: usize = 600;

#[test]
fn a_room_imports_only_from_lower_floors() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|source| violations(&source.path, &source.text))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn the_checker_finds_a_planted_violation() {
    let upwards = [
        "use crate::api::Router;",
        "use crate::{domain::RunId, api as other};",
        "use crate::{domain::{RunId, Clock}, api::{self, Router}};",
        "pub(crate) use crate::api::Router;",
        "fn f() { crate::api::serve(); }",
        "fn f(_: &crate::api::Router) {}",
        "mod tests { fn f() { use crate::api::Router; } }",
        "fn f() { println!(\"{}\", crate::api::NAME); }",
        "macro_rules! m { () => { $crate::api::NAME } }",
    ];
    for text in upwards {
        let found = violations("store/postgres/mod.rs", text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(
            found[0],
            "src/store/postgres/mod.rs: `store` (floor 2) imports `api` (floor 4), \
             but a room imports only from lower floors"
        );
    }
    let others = [
        ("store/mod.rs", "use crate::plan::Plan;", "`plan` (floor 2)"),
        ("store/mod.rs", "use crate::*;", "everything"),
        ("store/mod.rs", "use crate as all;", "everything"),
        (
            "store/mod.rs",
            "use crate::attic::Box;",
            "`attic`, which has no floor",
        ),
        (
            "attic/mod.rs",
            "use crate::domain::RunId;",
            "`attic` has no floor",
        ),
    ];
    for (path, text, expected) in others {
        let found = violations(path, text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{text}: {found:?}"
        );
    }
    let downwards = "use crate::{domain::RunId, workflow}; use crate::store::Store; use self::api::X; \
                     fn f() { println!(\"{}\", crate::config::NAME); }";
    assert_eq!(
        violations("store/mod.rs", downwards),
        Vec::<String>::new(),
        "lower floors and the room itself are allowed"
    );
}

#[test]
fn the_table_in_the_crate_documentation_is_the_one_held() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let documented: BTreeSet<(String, u8)> = text.lines().filter_map(table_row).collect();
    let held: BTreeSet<(String, u8)> = FLOORS
        .iter()
        .map(|(room, floor)| ((*room).to_owned(), *floor))
        .collect();
    assert_eq!(documented, held);

    let declared: BTreeSet<String> = syn::parse_file(&text)
        .unwrap()
        .items
        .iter()
        .filter_map(|item| {
            let syn::Item::Mod(module) = item else {
                return None;
            };
            Some(module.ident.to_string())
        })
        .collect();
    let rooms: BTreeSet<String> = held.into_iter().map(|(room, _)| room).collect();
    assert_eq!(declared, rooms, "every module of the crate is a room");
}

#[test]
fn only_the_retry_delay_names_the_backoff_crate() {
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|source| {
            paths_of(&source.text)
                .iter()
                .any(|path| path[0] == "backoff")
        })
        .map(|source| source.path)
        .collect();
    assert!(
        users.iter().all(|path| path == "domain/delay.rs"),
        "`backoff::` belongs in src/domain/delay.rs, and is named in {users:?}"
    );
    let planted = "fn f() { let _ = backoff::ExponentialBackoff::default(); }";
    assert!(paths_of(planted).iter().any(|path| path[0] == "backoff"));
}

#[test]
fn only_the_trace_context_and_the_export_name_opentelemetry() {
    let is_otel = |path: &Vec<String>| {
        path[0].starts_with("opentelemetry") || path[0] == "tracing_opentelemetry"
    };
    let users: Vec<String> = sources()
        .into_iter()
        .filter(|source| paths_of(&source.text).iter().any(is_otel))
        .map(|source| source.path)
        .filter(|path| path != "domain/trace.rs" && !path.starts_with("app/telemetry"))
        .collect();
    assert!(users.is_empty(), "spans are made with `tracing`: {users:?}");
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |engine: &str| -> BTreeSet<String> {
        files(&root().join("migrations").join(engine))
            .iter()
            .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (&source.path, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("src/{path}: {lines} lines, {LONGEST_FILE} at most"))
        .collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn every_metric_is_described_as_what_it_is() {
    let all: Vec<_> = sources().iter().flat_map(|s| metrics(&s.text)).collect();
    let of = |described: bool| -> BTreeSet<_> {
        let some = all.iter().filter(|metric| metric.0 == described);
        some.map(|(_, kind, name)| (*kind, name.as_str())).collect()
    };
    let (recorded, described) = (of(false), of(true));
    assert!(recorded.len() > 15, "{recorded:?}");
    assert_eq!(recorded, described);
    for (kind, name) in recorded {
        let is_ours = name.starts_with("redrive_") || name.starts_with("http_server_");
        assert!(is_ours, "{name}");
        let is_total = name.ends_with("_total");
        assert_eq!(is_total, kind == "counter", "{name} is a {kind}");
    }
}

#[test]
fn metrics_are_found_wherever_they_stand() {
    let text = "describe_gauge!(\n    \"a\", \"b\"); select! { () = x => metrics::counter!(\"c\").increment(1) }";
    let found = [(true, "gauge", "a"), (false, "counter", "c")];
    let found = found.map(|(described, kind, name)| (described, kind, name.to_owned()));
    let mut metrics = metrics(text);
    metrics.sort_by(|a, b| a.2.cmp(&b.2));
    assert_eq!(metrics, found);
}

/// The metrics that a text describes (true) or records (false), with their kinds.
fn metrics(text: &str) -> Vec<(bool, &'static str, String)> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        for (at, call) in text.match_indices(&format!("{kind}!(")) {
            let rest = text[at + call.len()..].trim_start();
            let name = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            let (name, _) =
                name.unwrap_or_else(|| panic!("a {kind} without a plain name: {rest:.80}"));
            found.push((text[..at].ends_with("describe_"), kind, name.to_owned()));
        }
    }
    found
}

/// A file of `src`, its path relative to it.
struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let found: Vec<Source> = files(&src)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| Source {
            path: file
                .strip_prefix(&src)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/"),
            text: fs::read_to_string(&file).unwrap(),
        })
        .collect();
    assert!(found.iter().any(|source| source.path == "lib.rs"));
    found
}

/// Every file below a folder, in order; none when there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, floor)| *floor)
}

/// Reads `//! | 4 | [`api`] | ... |`; what is not public is no link.
fn table_row(line: &str) -> Option<(String, u8)> {
    let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
    let floor = cells.next()?.parse().ok()?;
    let room = cells.next()?.trim_matches(['[', ']']);
    let room = room.strip_prefix('`')?.strip_suffix('`')?;
    Some((room.to_owned(), floor))
}

/// What the file at `path` (relative to `src`) imports and must not, once per room.
fn violations(path: &str, text: &str) -> Vec<String> {
    if path == "lib.rs" || path == "main.rs" {
        return Vec::new();
    }
    let first = path.split('/').next().unwrap_or(path);
    let room = first.strip_suffix(".rs").unwrap_or(first);
    let Some(own_floor) = floor(room) else {
        return vec![format!(
            "src/{path}: `{room}` has no floor in the table of src/lib.rs"
        )];
    };
    let imported: BTreeSet<String> = paths_of(text)
        .into_iter()
        .filter(|path| path[0] == "crate")
        .map(|path| path.get(1).cloned().unwrap_or_else(|| "*".to_owned()))
        .collect();
    imported
        .iter()
        .filter(|other| *other != room)
        .filter_map(|other| match floor(other) {
            Some(lower) if lower < own_floor => None,
            Some(other_floor) => Some(format!(
                "src/{path}: `{room}` (floor {own_floor}) imports `{other}` (floor {other_floor}), \
                 but a room imports only from lower floors"
            )),
            None if other == "*" => Some(format!(
                "src/{path}: `{room}` imports everything of the crate: name the rooms"
            )),
            None => Some(format!(
                "src/{path}: `{room}` imports `{other}`, which has no floor in the table of src/lib.rs"
            )),
        })
        .collect()
}

/// Every path a file names, imports and macro bodies included, as its first two segments.
fn paths_of(text: &str) -> BTreeSet<Vec<String>> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(text).unwrap());
    paths.found
}

#[derive(Default)]
struct Paths {
    found: BTreeSet<Vec<String>>,
}

impl Paths {
    fn add(&mut self, segments: &[String]) {
        self.found
            .insert(segments.iter().take(2).cloned().collect());
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| {
            let mut segments = before.to_vec();
            if ident != "self" || segments.is_empty() {
                segments.push(ident.to_string());
            }
            segments
        };
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A lone `crate` is the reach of a `pub(crate)`.
        if path.segments.len() > 1 {
            let segments: Vec<String> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }

    /// The body of a macro is tokens, not syntax: `a :: b` is read from their text.
    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        let text = invocation.tokens.to_string();
        let words: Vec<&str> = text
            .split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':'))
            .filter(|word| !word.is_empty())
            .collect();
        for at in 0..words.len().saturating_sub(2) {
            let starts = at == 0 || words[at - 1] != "::";
            if starts && words[at + 1] == "::" {
                self.add(&[words[at].to_owned(), words[at + 2].to_owned()]);
            }
        }
        visit::visit_macro(self, invocation);
    }
}
