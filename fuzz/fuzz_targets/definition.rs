//! Whatever is read as a definition can be walked from each of its triggers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redrive::{
    domain::{MAX_NESTING, parse_json},
    workflow::{Definition, DefinitionLimits, ExpressionLimits},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse_json(bytes, MAX_NESTING) else {
        return;
    };
    let Ok(definition) = Definition::parse(&value, &DefinitionLimits::default()) else {
        return;
    };
    let _ = definition.validate_for_start(&ExpressionLimits::default());
    assert!(!definition.triggers().is_empty());
    for &trigger in definition.triggers() {
        let reachable = definition.reachable(trigger);
        let mut settled = vec![false; definition.nodes().len()];
        for position in definition.order(trigger) {
            let parents = &definition.node(position).parents;
            assert!(parents.iter().all(|&p| settled[p] || !reachable[p]));
            assert!(!std::mem::replace(&mut settled[position], true));
        }
        assert_eq!(settled, reachable);
    }
});
