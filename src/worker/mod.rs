//! Takes deliveries, claims runs, has them executed, settles.
//!
//! A slot is taken before a delivery, so what is taken is begun. The lease of every run that is
//! held is renewed on its own connection; a run whose lease can't be renewed is dropped, and the
//! fence sees to it that it writes nothing more.

mod create;
mod held;
mod lease;
mod process;

pub use process::{Worker, WorkerParts};
