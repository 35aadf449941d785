//! `convert-to-wei` and `convert-from-wei`: between amounts with a fraction and the whole numbers
//! of the smallest unit, exact, within 256 bits.
//!
//! `{"amount": "1.5", "decimals": 18}` gives `{"wei": "1500000000000000000"}`, and back.
//! `decimals` is 18 when not given, at most 77. Amounts are texts or numbers, exponents are read
//! (`1e18`); results are texts. Nothing is rounded: an amount with more decimals than there are,
//! a negative one, or one beyond 2^256 - 1 is refused.

use serde_json::{Value, json};

use super::payload::Payload;
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput},
};

/// 2^256 - 1.
const MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// Decimals when none are named, as of ether.
const DEFAULT_DECIMALS: u64 = 18;

/// Runs `convert-to-wei`.
pub(super) fn to_wei(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let decimals = decimals(&payload)?;
    let amount = amount(&payload, ["amount", "value"])?;
    let wei = amount
        .shifted(decimals)
        .map_err(|why| payload.refuse(why))?;
    Ok(NodeOutput::result(json!({ "wei": wei })))
}

/// Runs `convert-from-wei`.
pub(super) fn from_wei(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let decimals = decimals(&payload)?;
    let wei = amount(&payload, ["wei", "amount"])?;
    let wei = wei.shifted(0).map_err(|why| payload.refuse(why))?;
    Ok(NodeOutput::result(
        json!({ "amount": with_point(&wei, decimals) }),
    ))
}

fn decimals(payload: &Payload<'_>) -> Result<usize, NodeError> {
    let decimals = payload.whole("decimals", 0, 77)?;
    // At most 77: it fits everywhere.
    Ok(usize::try_from(decimals.unwrap_or(DEFAULT_DECIMALS)).unwrap_or_default())
}

fn amount<'a>(payload: &Payload<'a>, names: [&'static str; 2]) -> Result<Decimal<'a>, NodeError> {
    const TAKES: &str = "a number that is not negative, or a text of one";
    let (name, value) = payload.either(names, TAKES)?;
    let text = match value {
        Value::Number(number) => Some(number.as_str()),
        Value::String(text) => Some(text.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    text.and_then(Decimal::read)
        .ok_or_else(|| payload.wrong(name, TAKES))
}

/// Digits without leading zeros, and how many of them are behind the point: negative if zeros are
/// missing before it.
#[derive(Debug)]
struct Decimal<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Decimal<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            None => (text, 0),
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let has_digits = !(whole.is_empty() && fraction.is_empty());
        (has_digits && are_digits(whole) && are_digits(fraction)).then_some(Self {
            whole,
            fraction,
            exponent,
        })
    }

    /// The whole number that is this one with its point moved `decimals` places to the right.
    fn shifted(&self, decimals: usize) -> Result<String, &'static str> {
        const BEYOND: &str = "the amount is beyond 2^256 - 1";
        const FRACTION: &str = "the amount has more decimals than `decimals`; nothing is rounded";
        let digits = format!("{}{}", self.whole, self.fraction);
        let significant = digits.trim_end_matches('0');
        let dropped = digits.len() - significant.len();
        let digits = significant.trim_start_matches('0');
        if digits.is_empty() {
            return Ok("0".to_owned());
        }
        let place = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
        let zeros = self
            .exponent
            .saturating_add(place(decimals))
            .saturating_sub(place(self.fraction.len()))
            .saturating_add(place(dropped));
        let zeros = usize::try_from(zeros).map_err(|_| FRACTION)?;
        if digits.len().saturating_add(zeros) > MAX.len() {
            return Err(BEYOND);
        }
        let whole = format!("{digits}{}", "0".repeat(zeros));
        if whole.len() == MAX.len() && whole.as_str() > MAX {
            return Err(BEYOND);
        }
        Ok(whole)
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let are_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.trim_start_matches('0');
    // What no number of 256 bits has is far enough away.
    let size = if size.len() > 9 {
        1_000_000_000
    } else {
        size.parse().unwrap_or(0)
    };
    are_digits.then_some(if text.starts_with('-') { -size } else { size })
}

/// A whole number with a point before its last `decimals` digits, as short as it can be.
fn with_point(wei: &str, decimals: usize) -> String {
    let padded = format!("{wei:0>width$}", width = decimals + 1);
    let (whole, fraction) = padded.split_at(padded.len() - decimals);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::nodes::testing;

    fn wei(input: &Value) -> Result<Value, NodeError> {
        testing::run(to_wei, "convert-to-wei", input).map(|output| output.result["wei"].clone())
    }

    fn amount_of(input: &Value) -> Result<Value, NodeError> {
        let output = testing::run(from_wei, "convert-from-wei", input)?;
        Ok(output.result["amount"].clone())
    }

    fn number(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn amounts_become_whole_numbers_exactly() {
        for (amount, decimals, expected) in [
            (json!("1.5"), 18, "1500000000000000000"),
            (number("0.000000000000000001"), 18, "1"),
            (number("1e-18"), 18, "1"),
            (json!("1E2"), 0, "100"),
            (json!("100e-2"), 0, "1"),
            (json!(" 007.50 "), 1, "75"),
            (json!(".5"), 1, "5"),
            (json!("0"), 77, "0"),
            (json!("0e999999999999999999999"), 18, "0"),
            (json!(MAX), 0, MAX),
            (
                json!(
                    "1.15792089237316195423570985008687907853269984665640564039457584007913129639935"
                ),
                77,
                MAX,
            ),
        ] {
            let input = json!({"amount": amount, "decimals": decimals});
            assert_eq!(wei(&input).unwrap(), expected, "{input}");
        }
        assert_eq!(wei(&json!({"amount": 2})).unwrap(), "2000000000000000000");
    }

    #[test]
    fn whole_numbers_become_amounts_exactly() {
        for (wei, decimals, expected) in [
            (json!("1500000000000000000"), 18, "1.5"),
            (json!(1), 18, "0.000000000000000001"),
            (json!("1000000000000000000"), 18, "1"),
            (json!("0"), 18, "0"),
            (json!("1e3"), 2, "10"),
            (json!("12"), 0, "12"),
            (json!("1.0"), 0, "1"),
        ] {
            let input = json!({"wei": wei, "decimals": decimals});
            assert_eq!(amount_of(&input).unwrap(), expected, "{input}");
        }
    }

    #[test]
    fn what_is_no_such_amount_is_refused_never_rounded() {
        let beyond =
            "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        for amount in [
            json!("-1"),
            json!(-1),
            json!("0x10"),
            json!("1,5"),
            json!("1.5.0"),
            json!(""),
            json!("."),
            json!("e5"),
            json!("1e"),
            json!("NaN"),
            json!("1.0000000000000000001"),
            json!("1e-19"),
            json!("1e-99999999999999999999"),
            json!("1e61"),
            json!("1e99999999999999999999"),
            json!(true),
            json!(null),
        ] {
            let error = wei(&json!({"amount": amount})).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{amount}");
        }
        assert!(wei(&json!({"amount": beyond, "decimals": 0})).is_err());
        assert!(wei(&json!({"amount": 1, "decimals": 78})).is_err());
        assert!(amount_of(&json!({"wei": "1.5"})).is_err());
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same(digits in "(0|[1-9][0-9]{0,76})", decimals in 0_u32..78) {
            let amount = amount_of(&json!({"wei": digits, "decimals": decimals})).unwrap();
            let back = wei(&json!({"amount": amount, "decimals": decimals})).unwrap();
            prop_assert_eq!(back, digits);
        }
    }
}
