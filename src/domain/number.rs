//! Numbers by their text: exact at any length, without allocating.
//!
//! `1`, `1.0` and `10e-1` are one number; `0.1` and `0.10000000000000000001` are two. An exponent
//! is never expanded, so `1e999999999999` costs what its text costs. Exponents of more than 30
//! digits are cut to 10^30, which no text of this size can tell apart in practice.

use std::cmp::Ordering;

use serde_json::Number;

/// Exponents are kept within this bound.
const MAX_EXPONENT: i128 = 10_i128.pow(30);

/// A number as sign, digits and the place of its first digit: 0.d1d2d3... x 10^place.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    /// The digits before and after the point, neither leading nor trailing zeros; both empty for
    /// zero.
    digits: (&'a str, &'a str),
    place: i128,
}

impl<'a> Decimal<'a> {
    fn of(number: &'a Number) -> Self {
        let text = number.as_str();
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.is_empty() {
            let significant = fraction.trim_start_matches('0');
            let zeros = fraction.len() - significant.len();
            return Self::normal(negative, ("", significant), exponent - length(zeros));
        }
        let place = exponent + length(whole.len());
        let whole = if fraction.is_empty() {
            whole.trim_end_matches('0')
        } else {
            whole
        };
        Self::normal(negative, (whole, fraction), place)
    }

    /// Zero has one form, whatever its sign and exponent.
    fn normal(negative: bool, digits: (&'a str, &'a str), place: i128) -> Self {
        let zero = digits.0.is_empty() && digits.1.is_empty();
        Self {
            negative: negative && !zero,
            digits,
            place: if zero { 0 } else { place },
        }
    }

    fn is_zero(&self) -> bool {
        self.digits.0.is_empty() && self.digits.1.is_empty()
    }

    fn bytes(&self) -> impl Iterator<Item = u8> + 'a {
        self.digits.0.bytes().chain(self.digits.1.bytes())
    }

    /// Compares without the signs. Digits compare as text: there are no trailing zeros, so the
    /// longer of two equal beginnings is the larger.
    fn compare_magnitude(&self, other: &Self) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                let places = self.place.cmp(&other.place);
                places.then_with(|| self.bytes().cmp(other.bytes()))
            }
        }
    }
}

fn length(len: usize) -> i128 {
    i128::try_from(len).unwrap_or(MAX_EXPONENT)
}

fn read_exponent(text: &str) -> i128 {
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']).trim_start_matches('0');
    let size = if digits.len() > 30 {
        MAX_EXPONENT
    } else {
        digits.parse().unwrap_or(0)
    };
    if negative { -size } else { size }
}

/// Compares two numbers exactly.
#[must_use]
pub fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    let (left, right) = (Decimal::of(left), Decimal::of(right));
    match (left.negative, right.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => left.compare_magnitude(&right),
        (true, true) => right.compare_magnitude(&left),
    }
}

/// The number, if it is a whole one from 0 to `u64::MAX`.
#[must_use]
pub fn whole_number(number: &Number) -> Option<u64> {
    let decimal = Decimal::of(number);
    if decimal.is_zero() {
        return Some(0);
    }
    let digits = length(decimal.bytes().count());
    if decimal.negative || decimal.place > 20 || digits > decimal.place {
        return None;
    }
    let value = decimal.bytes().try_fold(0_u64, |value, digit| {
        let digit = u64::from(digit.checked_sub(b'0')?);
        value.checked_mul(10)?.checked_add(digit)
    })?;
    let zeros = u32::try_from(decimal.place - digits).ok()?;
    value.checked_mul(10_u64.checked_pow(zeros)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn spelling_does_not_matter() {
        for group in [
            &["1", "1.0", "1.000", "10e-1", "0.1e1", "0.001E+3", "1e00"][..],
            &[
                "0",
                "-0",
                "0.0",
                "0e999999999999999999999999999999",
                "-0.0e-5",
            ],
            &["-1500", "-1.5e3", "-15E2", "-0.0015e6"],
            &["0.05", "5e-2", "0.0500"],
            &["100", "1e2", "10.0e1"],
        ] {
            for left in group {
                for right in group {
                    assert_eq!(
                        compare_numbers(&number(left), &number(right)),
                        Ordering::Equal,
                        "{left} {right}"
                    );
                }
            }
        }
    }

    #[test]
    fn order_is_exact_at_any_length() {
        let long = "9".repeat(100_000);
        let longer = format!("{long}.1");
        let ascending = [
            "-1e999999999999999999999999999999999999999999",
            "-1e99999999999",
            "-2",
            "-1.00000000000000000000000000000000000001",
            "-1",
            "-1e-999999999999",
            "0",
            "1e-9999999999999999999",
            "0.09",
            "0.1",
            "0.10000000000000000000000000000001",
            "1",
            "9007199254740992",
            "9007199254740993",
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            "115792089237316195423570985008687907853269984665640564039457584007913129639936",
            &long,
            &longer,
            "1e999999999",
            "1.1e999999999",
            "1e999999999999999999999999999999999999999999",
        ];
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(
                    compare_numbers(&number(left), &number(right)),
                    i.cmp(&j),
                    "{i} {j}"
                );
            }
        }
    }

    #[test]
    fn whole_numbers_are_read_however_they_are_spelled() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("1000", Some(1000)),
            ("1e3", Some(1000)),
            ("1000.0", Some(1000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("1.5", None),
            ("15e-1", None),
            ("-1", None),
            ("1e999999999999999999999", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(whole_number(&number(text)), expected, "{text}");
        }
    }
}
