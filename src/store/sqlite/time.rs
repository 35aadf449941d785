//! Times of the machinery as this engine stores them: text that sorts as time does.

use chrono::SecondsFormat;

use crate::domain::Timestamp;

/// RFC 3339 in UTC, six digits of fraction: texts of one length, so that they compare as times.
pub(super) fn text(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_sort_as_times_do(a in 0_i64..250_000_000_000_000_000, b in 0_i64..250_000_000_000_000_000) {
            let at = |micros| Timestamp::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(text(at(a)).cmp(&text(at(b))), a.cmp(&b));
            prop_assert_eq!(text(at(a)).parse::<Timestamp>().unwrap(), at(a));
        }
    }
}
