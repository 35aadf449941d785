//! User JSON that is accepted comes back as it went in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redrive::domain::{JsonText, MAX_NESTING, nesting, parse_json, same_value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse_json(bytes, MAX_NESTING) else {
        return;
    };
    assert!(nesting(&value) <= MAX_NESTING);
    let text = JsonText::of(&value);
    let again = parse_json(text.as_str().as_bytes(), MAX_NESTING).expect("what is written is JSON");
    assert!(same_value(&value, &again));
    assert_eq!(JsonText::of(&again), text);
});
