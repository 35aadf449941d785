//! A retry's plan as a graph for the terminal.
//!
//! A line is a node, in the order of execution. What follows one node alone stands below it; only
//! where the graph forks are its branches indented, so that a long line of nodes stays readable. A
//! node with several parents stands below the last of them and names the others. Iterations of a
//! loop stand below it; neighbours that are all alike are one line.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    table::{cut, printable},
    view::text,
};

/// The widest that ids and types are drawn.
const WIDEST: usize = 40;

/// What stands before a node: its mark, and how often it was drawn, with its meaning.
const MARKS: [(&str, &str); 6] = [
    ("=", "reused"),
    (">", "executed"),
    ("?", "in doubt: repeated with its old key"),
    ("-", "skipped"),
    ("*", "result given by the request"),
    ("~", "executed or skipped: decided during the retry"),
];

/// Draws the answer of the plan endpoint for a run of this definition.
pub(super) fn plan(answer: &Value, definition: &Value) -> String {
    let mut out = Vec::new();
    if let Some(message) = answer["refusal"]["message"].as_str() {
        out.push(format!("a retry would be refused now: {message}\n"));
    }
    let lines = answer["plan"]["nodes"].as_array();
    if let Some(lines) = lines {
        let drawing = Drawing::new(lines, definition);
        drawing.draw(&mut out);
        out.push(String::new());
        out.push(legend(lines));
    }
    if let Some(hash) = text(answer, "planHash") {
        out.push(format!("plan hash: {hash}"));
    }
    out.join("\n")
}

fn mark(line: &Value) -> &'static str {
    let is_open = line["conditional"] == true;
    match (line["verdict"].as_str(), line["reason"].as_str()) {
        (_, Some("pinned")) => "*",
        (Some("execute"), _) if is_open => "~",
        (Some("reuse"), _) => "=",
        (Some("execute"), _) => ">",
        (Some("in_doubt"), _) => "?",
        _ => "-",
    }
}

fn legend(lines: &[Value]) -> String {
    let count = |mark_of: &str| lines.iter().filter(|line| mark(line) == mark_of).count();
    let counted = MARKS
        .iter()
        .map(|(mark, meaning)| (count(mark), mark, meaning));
    let shown = counted.filter(|(count, ..)| *count > 0);
    let shown: Vec<_> = shown
        .map(|(count, mark, meaning)| format!("{mark} {count} {meaning}"))
        .collect();
    shown.join("\n")
}

/// The nodes of one frame: those outside all loops, or of one iteration.
#[derive(Default)]
struct Frame<'a> {
    lines: Vec<&'a Value>,
}

struct Drawing<'a> {
    frames: HashMap<String, Frame<'a>>,
    parents: HashMap<&'a str, Vec<&'a str>>,
    width: usize,
}

impl<'a> Drawing<'a> {
    fn new(lines: &'a [Value], definition: &'a Value) -> Self {
        let mut frames: HashMap<String, Frame<'a>> = HashMap::new();
        for line in lines {
            let path = line["path"].as_str().unwrap_or_default();
            let (frame, _) = split(path);
            frames.entry(frame.to_owned()).or_default().lines.push(line);
        }
        let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
        let nodes = definition["nodes"].as_object();
        for (id, node) in nodes.into_iter().flatten() {
            let children = node["children"].as_array().into_iter().flatten();
            for child in children.filter_map(Value::as_str) {
                parents.entry(child).or_default().push(id);
            }
        }
        let ids = lines
            .iter()
            .map(|line| split(path_of(line)).1.chars().count());
        Self {
            frames,
            parents,
            width: ids.max().unwrap_or(0).min(WIDEST),
        }
    }

    fn draw(&self, out: &mut Vec<String>) {
        self.draw_frame("", "", out);
    }

    /// The nodes of a frame below each other; each frame is small enough to be walked on a stack.
    fn draw_frame(&self, frame: &str, indent: &str, out: &mut Vec<String>) {
        let Some(frame) = self.frames.get(frame) else {
            return;
        };
        let places: HashMap<&str, usize> = frame
            .lines
            .iter()
            .enumerate()
            .map(|(place, line)| (split(path_of(line)).1, place))
            .collect();
        // The last of a node's parents is the one that it is drawn below.
        let above = |line: &Value| {
            let parents = self.parents.get(split(path_of(line)).1);
            let places = parents.into_iter().flatten().filter_map(|p| places.get(p));
            places.copied().max()
        };
        let mut below: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (place, line) in frame.lines.iter().enumerate() {
            below.entry(above(line)).or_default().push(place);
        }
        let mut stack: Vec<(usize, String, &str)> = Vec::new();
        push(&mut stack, below.get(&None), indent, true);
        while let Some((place, indent, fork)) = stack.pop() {
            let line = frame.lines[place];
            out.push(self.line(line, &indent, fork, &places));
            let inner = match fork {
                "├ " => format!("{indent}│ "),
                "└ " => format!("{indent}  "),
                _ => indent,
            };
            self.draw_iterations(line, &inner, out);
            push(&mut stack, below.get(&Some(place)), &inner, false);
        }
    }

    fn line(
        &self,
        line: &Value,
        indent: &str,
        fork: &str,
        places: &HashMap<&str, usize>,
    ) -> String {
        let id = split(path_of(line)).1;
        let kind = text(line, "type").unwrap_or_default();
        let reason = text(line, "reason").unwrap_or_default().replace('_', " ");
        let mut more = Vec::new();
        let parents = self.parents.get(id).into_iter().flatten();
        let parents: Vec<_> = parents
            .filter(|parent| places.contains_key(**parent))
            .collect();
        if parents.len() > 1 {
            let others: Vec<&str> = parents.into_iter().copied().collect();
            more.push(format!("joins {}", others.join(", ")));
        }
        let stale: Vec<_> = line["stale"].as_array().into_iter().flatten().collect();
        if !stale.is_empty() {
            let stale: Vec<_> = stale.iter().filter_map(|what| what.as_str()).collect();
            more.push(format!("stale: {} changed", stale.join(", ")));
        }
        if line["needsAcknowledge"] == true {
            more.push("unsafe: acknowledge it to repeat it".to_owned());
        }
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(" ({})", more.join("; "))
        };
        let width = self.width;
        let text = format!(
            "{indent}{fork}{} {:width$}  {:16} {reason}{more}",
            mark(line),
            cut(id, WIDEST),
            cut(&kind, 16)
        );
        printable(text.trim_end())
    }

    /// The iterations of a loop; neighbours with nothing but reused nodes are one line.
    fn draw_iterations(&self, line: &Value, indent: &str, out: &mut Vec<String>) {
        let path = path_of(line);
        let iterations = line["iterations"].as_array().into_iter().flatten();
        let mut folded: Option<(u64, u64, String)> = None;
        for iteration in iterations {
            let index = iteration["index"].as_u64().unwrap_or_default();
            let verdict = text(iteration, "verdict").unwrap_or_default();
            let reason = text(iteration, "reason")
                .unwrap_or_default()
                .replace('_', " ");
            if verdict == "reuse" {
                match &mut folded {
                    Some((_, last, _)) => *last = index,
                    None => folded = Some((index, index, reason)),
                }
                continue;
            }
            out.extend(folded.take().map(|folded| fold(indent, &folded)));
            out.push(format!("{indent}  [{index}] {reason}"));
            self.draw_frame(&format!("{path}[{index}]"), &format!("{indent}      "), out);
        }
        out.extend(folded.take().map(|folded| fold(indent, &folded)));
        let every = format!("{path}[*]");
        if self.frames.contains_key(&every) {
            out.push(format!("{indent}  [*] each item of its array"));
            self.draw_frame(&every, &format!("{indent}      "), out);
        }
    }
}

fn fold(indent: &str, (first, last, reason): &(u64, u64, String)) -> String {
    let range = if first == last {
        first.to_string()
    } else {
        format!("{first}..{last}")
    };
    format!("{indent}  [{range}] reused: {reason}")
}

/// Puts nodes that stand below the same one on the stack, the first on top.
fn push(
    stack: &mut Vec<(usize, String, &str)>,
    places: Option<&Vec<usize>>,
    indent: &str,
    are_entries: bool,
) {
    let places = places.map(Vec::as_slice).unwrap_or_default();
    let is_fork = places.len() > 1 && !are_entries;
    for (number, place) in places.iter().enumerate().rev() {
        let fork = match (is_fork, number + 1 == places.len()) {
            (false, _) => "",
            (true, false) => "├ ",
            (true, true) => "└ ",
        };
        stack.push((*place, indent.to_owned(), fork));
    }
}

fn path_of(line: &Value) -> &str {
    line["path"].as_str().unwrap_or_default()
}

/// The frame of a path (`loop[3]`, empty outside all loops) and the node's id.
fn split(path: &str) -> (&str, &str) {
    let quoted = path.ends_with("\"]");
    let end = if quoted {
        path.rfind("[\"").filter(|at| *at > 0)
    } else {
        path.rfind("].").map(|at| at + 1)
    };
    match end {
        Some(end) if quoted => (&path[..end], &path[end..]),
        Some(end) => (&path[..end], &path[end + 1..]),
        None => ("", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(path: &str, verdict: &str, reason: &str) -> Value {
        json!({ "path": path, "type": "log", "verdict": verdict, "reason": reason })
    }

    #[test]
    fn a_plan_is_drawn_as_its_graph() {
        let mut each = line("each", "execute", "failed");
        each["iterations"] = json!([
            { "index": 0, "verdict": "reuse", "reason": "succeeded" },
            { "index": 1, "verdict": "reuse", "reason": "succeeded" },
            { "index": 2, "verdict": "execute", "reason": "failed" }
        ]);
        let mut after = line("after", "reuse", "succeeded");
        after["stale"] = json!(["each"]);
        let mut open = line("no", "execute", "decided_anew");
        open["conditional"] = true.into();
        let lines = json!([
            line("root", "reuse", "trigger"),
            line("if", "execute", "failed"),
            line("yes", "in_doubt", "outcome_unknown"),
            each,
            line("each[0].pay", "reuse", "succeeded"),
            line("each[1].pay", "reuse", "succeeded"),
            line("each[2].pay", "execute", "failed"),
            after,
            open,
            line("end", "skip", "branch_not_taken"),
        ]);
        let definition = json!({ "nodes": {
            "root": { "children": ["if"] }, "if": { "children": ["yes", "no"] },
            "yes": { "children": ["each", "end"] }, "each": { "children": ["after"] },
            "no": { "children": ["end"] }
        } });
        let answer = json!({ "plan": { "nodes": lines }, "planHash": "h", "refusal": null });
        let expected = [
            "= root   log              trigger",
            "> if     log              failed",
            "├ ? yes    log              outcome unknown",
            "│ > each   log              failed",
            "│   [0..1] reused: succeeded",
            "│   [2] failed",
            "│       > pay    log              failed",
            "│ = after  log              succeeded (stale: each changed)",
            "└ ~ no     log              decided anew",
            "  - end    log              branch not taken (joins yes, no)",
            "",
            "= 4 reused",
            "> 3 executed",
            "? 1 in doubt: repeated with its old key",
            "- 1 skipped",
            "~ 1 executed or skipped: decided during the retry",
            "plan hash: h",
        ];
        assert_eq!(plan(&answer, &definition), expected.join("\n"));
    }

    #[test]
    fn paths_are_split_at_their_last_node() {
        for (path, frame, id) in [
            ("pay", "", "pay"),
            ("loop[3].pay", "loop[3]", "pay"),
            ("a[0].b[1].c", "a[0].b[1]", "c"),
            ("a[*].c", "a[*]", "c"),
            ("[\"a.b\"]", "", "[\"a.b\"]"),
            ("x[0][\"a.b\"]", "x[0]", "[\"a.b\"]"),
        ] {
            assert_eq!(split(path), (frame, id), "{path}");
        }
    }
}
