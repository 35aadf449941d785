//! The `redrive` binary.

fn main() {}
