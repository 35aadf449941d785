//! Every SQL text is found and prepared.
