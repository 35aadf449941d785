//! Takes deliveries, claims runs, has them executed, settles.
//!
//! A slot is taken before a delivery, so what is taken is begun; and a delivery is settled as soon as
//! the ledger knows everything it said, so that no broker waits for a run. The lease of every run that is
//! held is renewed on its own connection; a run whose lease can't be renewed is dropped, and the
//! fence sees to it that it writes nothing more.

mod carry;
mod child_retries;
mod create;
mod deliver;
mod direct;
mod held;
mod lease;
mod process;
mod secrets;
mod settlement;
mod slots;
mod span;
mod upkeep;

pub use child_retries::AcceptsChildren;
pub use create::create_run;
pub use process::{Worker, WorkerParts};
