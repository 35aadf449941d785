//! Fields of items by name, with dots: shared by `filter`, `pluck` and `format`.

use serde_json::Value;

/// The value at `path`. A member whose name is the whole rest of the path wins over the dots in
/// it, so `{"a.b": 1}` has a field `a.b`; in an array a segment is an index.
pub(super) fn get<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    let (mut item, mut path) = (item, path);
    loop {
        if let Some(found) = item.as_object().and_then(|members| members.get(path)) {
            return Some(found);
        }
        let (segment, rest) = match path.split_once('.') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        item = match item {
            Value::Object(members) => members.get(segment)?,
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        let Some(rest) = rest else {
            return Some(item);
        };
        path = rest;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dots_lead_inwards_and_whole_names_win() {
        let item = json!({"a": {"b": [10, {"c.d": 1}]}, "a.b": 2, "": 3, "n": null});
        for (path, expected) in [
            ("a", Some(json!({"b": [10, {"c.d": 1}]}))),
            ("a.b", Some(json!(2))),
            ("a.b.0", Some(json!(10))),
            ("a.b.1.c.d", Some(json!(1))),
            ("a.b.2", None),
            ("a.b.-1", None),
            ("a.x", None),
            ("a.", None),
            ("n", Some(json!(null))),
            ("n.x", None),
            ("", Some(json!(3))),
        ] {
            assert_eq!(get(&item, path).cloned(), expected, "{path}");
        }
        assert_eq!(get(&json!("text"), "length"), None);
        let long = ".".repeat(1_000_000);
        assert_eq!(get(&item, &long), None);
    }
}
