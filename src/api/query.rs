//! The parameters behind a path. Unknown ones are ignored, an empty one counts as not given, a
//! value that can't be is 400.

use std::str::FromStr;

use serde::Serialize;

use super::error::ApiError;

/// How many items a page has when nobody says.
const DEFAULT_LIMIT: u32 = 20;

/// How many items a page has at most.
const MAX_LIMIT: u32 = 100;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

/// Which part of a list to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// At most so many items.
    pub(super) limit: u32,
    /// Leave out so many.
    pub(super) offset: u64,
}

impl Page {
    /// How many items to ask for: one more than is shown tells whether there are more.
    pub(super) fn one_more(self) -> u32 {
        self.limit.saturating_add(1)
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    items: Vec<T>,
    limit: u32,
    offset: u64,
    has_more: bool,
}

impl<T> List<T> {
    /// The page of `found`, which holds up to [`Page::one_more`] items.
    pub(super) fn of<'a, F>(found: &'a [F], page: Page, view: impl Fn(&'a F) -> T) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        Self {
            items: found.iter().take(limit).map(view).collect(),
            limit: page.limit,
            offset: page.offset,
            has_more: found.len() > limit,
        }
    }
}

impl Query {
    /// Reads `a=b&c=d`.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Every value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(given, _)| given == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that stands at most once.
    fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ApiError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(ApiError::invalid_field(name, "must stand once")),
        }
    }

    /// The value of a parameter, as `read` understands it.
    pub(super) fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        let value = read(value).map(Some);
        value.ok_or_else(|| ApiError::invalid_field(name, &format!("must be {expected}")))
    }

    /// A yes or no; no when it is not given.
    pub(super) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        let flag = self.read(name, "true or false", |value| value.parse().ok())?;
        Ok(flag.unwrap_or(false))
    }

    /// `limit` and `offset`.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let expected = format!("1 to {MAX_LIMIT}");
        let limit = self.read("limit", &expected, |value| {
            number(value).filter(|limit| (1..=MAX_LIMIT).contains(limit))
        })?;
        let offset = self.read("offset", "a number of at least 0", |value| {
            // Both engines count in signed numbers.
            number(value).filter(|offset: &u64| i64::try_from(*offset).is_ok())
        })?;
        Ok(Page {
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            offset: offset.unwrap_or(0),
        })
    }
}

/// A number in digits alone.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;

    #[test]
    fn pages_are_20_long_and_at_most_100() {
        let page = |text| Query::parse(text).page();
        let is = |text, limit, offset| {
            assert_eq!(page(text).unwrap(), Page { limit, offset }, "{text}");
        };
        is("", 20, 0);
        is("limit=&offset=", 20, 0);
        is(
            "limit=1&offset=9223372036854775807&other=x",
            1,
            i64::MAX as u64,
        );
        is("limit=100", 100, 0);
        for bad in [
            "limit=0",
            "limit=101",
            "limit=abc",
            "limit=%2B5",
            "limit=-1",
            "limit=5&limit=6",
            "offset=-1",
            "offset=9223372036854775808",
            "offset=1.5",
        ] {
            assert_eq!(
                page(bad).unwrap_err().reason(),
                Reason::InvalidRequest,
                "{bad}"
            );
        }
    }

    #[test]
    fn one_item_too_many_says_that_there_are_more() {
        let page = Page {
            limit: 2,
            offset: 4,
        };
        let list = |found: &[u8]| serde_json::to_string(&List::of(found, page, |n| *n)).unwrap();
        let full = r#"{"items":[1,2],"limit":2,"offset":4,"hasMore":false}"#;
        assert_eq!(list(&[1, 2]), full);
        assert_eq!(list(&[1, 2, 3]), full.replace("false", "true"));
        assert_eq!(page.one_more(), 3);
    }

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("nodeIds=a%2Cb,c+d&nodeIds=%C3%A9&summary=true");
        assert_eq!(query.all("nodeIds").collect::<Vec<_>>(), ["a,b,c d", "é"]);
        assert!(query.flag("summary").unwrap());
        assert!(!query.flag("verbose").unwrap());
        assert!(Query::parse("summary=yes").flag("summary").is_err());
    }
}
