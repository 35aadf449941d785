//! What a request prefers: `Prefer: wait=N` and `respond-async` (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header that says so.
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The header of the answer, with what was done.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The longest that an answer is held back, in seconds.
const LONGEST: u64 = 60;

/// The preferences of a request. What can't be read, and what is unknown, is not preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Prefer {
    /// Hold the answer back until the run has ended, but no longer than this.
    pub(super) wait: Option<Duration>,
    /// Answer 202 with where to look, instead of 200 with what is there so far.
    pub(super) respond_async: bool,
}

impl Prefer {
    /// Reads the preferences; of two of the same name the first counts.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all(PREFER).into_iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        for preference in texts.flat_map(|text| text.split(',')) {
            // Parameters of a preference: none is known.
            let preference = preference.split(';').next().unwrap_or_default().trim();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => prefer.respond_async = true,
                "wait" if prefer.wait.is_none() => prefer.wait = seconds(value),
                _ => {}
            }
        }
        prefer
    }

    /// The value of [`PREFERENCE_APPLIED`]; none if nothing was preferred.
    pub(super) fn applied(self, is_async: bool) -> Option<HeaderValue> {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied = [is_async.then(|| "respond-async".to_owned()), wait];
        let applied: Vec<_> = applied.into_iter().flatten().collect();
        if applied.is_empty() {
            return None;
        }
        HeaderValue::from_str(&applied.join(", ")).ok()
    }
}

fn seconds(value: &str) -> Option<Duration> {
    let value = value.trim().trim_matches('"');
    let seconds: u64 = value.parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        Prefer::read(&headers)
    }

    fn wait(seconds: u64) -> Prefer {
        Prefer {
            wait: Some(Duration::from_secs(seconds)),
            respond_async: false,
        }
    }

    #[test]
    fn preferences_are_read_in_every_spelling() {
        assert_eq!(read(&[]), Prefer::default());
        assert_eq!(read(&["wait=10"]), wait(10));
        assert_eq!(read(&["Wait = \"7\" ; foo=1"]), wait(7));
        assert_eq!(read(&["wait=100000"]), wait(60));
        assert_eq!(read(&["wait=3, wait=4"]), wait(3));
        for unknown in [
            "wait",
            "wait=",
            "wait=-1",
            "wait=soon",
            "handling=lenient",
            ",,",
        ] {
            assert_eq!(read(&[unknown]), Prefer::default(), "{unknown}");
        }
        let both = Prefer {
            respond_async: true,
            ..wait(5)
        };
        assert_eq!(read(&["respond-async, wait=5"]), both);
        assert_eq!(read(&["RESPOND-ASYNC", "wait=5"]), both);
    }

    #[test]
    fn what_was_applied_is_said() {
        assert_eq!(Prefer::default().applied(false), None);
        assert_eq!(wait(5).applied(false).unwrap(), "wait=5");
        assert_eq!(wait(5).applied(true).unwrap(), "respond-async, wait=5");
    }
}
