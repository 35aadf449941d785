//! For tests only, with the cargo feature `faults`: a process that dies between two durable steps,
//! and promises that are broken on purpose, to see that somebody notices.
//!
//! Without the feature all of it compiles to nothing. With it, the environment of a process says
//! what goes wrong in it: `REDRIVE_FAULT=<point>:<n>` ends it at its nth pass of a point,
//! `REDRIVE_BUG=<name>` plants a bug. Tests find the points in the source, so each is named where
//! it stands, by a plain text, and nowhere else.

/// A place between two durable steps, where the process may be told to die.
#[inline]
pub(crate) fn point(name: &str) {
    #[cfg(feature = "faults")]
    armed::pass(name);
    #[cfg(not(feature = "faults"))]
    let _ = name;
}

/// Whether a promise is to be broken here.
#[inline]
pub(crate) fn planted(bug: &str) -> bool {
    #[cfg(feature = "faults")]
    return armed::bug() == Some(bug);
    #[cfg(not(feature = "faults"))]
    {
        let _ = bug;
        false
    }
}

/// What a reader reads that takes everything below the greatest id it saw for done.
pub(crate) fn is_above_watermark(id: &str) -> bool {
    use std::sync::{Mutex, PoisonError};

    static GREATEST: Mutex<String> = Mutex::new(String::new());
    let mut greatest = GREATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_above = id > greatest.as_str();
    if is_above {
        id.clone_into(&mut greatest);
    }
    is_above
}

#[cfg(feature = "faults")]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    /// The point to die at, and how many passes are left.
    struct Fault {
        point: String,
        left: AtomicU64,
    }

    static FAULT: LazyLock<Option<Fault>> = LazyLock::new(|| {
        let text = said("REDRIVE_FAULT")?;
        let (point, nth) = text.split_once(':')?;
        Some(Fault {
            point: point.to_owned(),
            left: AtomicU64::new(nth.parse().ok()?),
        })
    });

    static BUG: LazyLock<Option<String>> = LazyLock::new(|| said("REDRIVE_BUG"));

    #[expect(
        clippy::disallowed_methods,
        reason = "no configuration of the product: it must not be settable in a file"
    )]
    fn said(variable: &str) -> Option<String> {
        std::env::var(variable).ok()
    }

    pub(super) fn pass(name: &str) {
        let Some(fault) = FAULT.as_ref().filter(|fault| fault.point == name) else {
            return;
        };
        if fault.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // As sudden as SIGKILL: nothing is unwound, flushed or said.
            std::process::abort();
        }
    }

    pub(super) fn bug() -> Option<&'static str> {
        BUG.as_deref()
    }
}
