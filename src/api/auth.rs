//! Who asks: bearer tokens, the organisation they speak for, and what they may do.
//!
//! A token made here is `rdv_<id>_<secret>` with 256 random bits. A text that somebody chose is a
//! token too: its id is the beginning of its hash. Either way the ledger holds the SHA-256 of the
//! whole text, and that is what is compared, in constant time.

use std::{collections::BTreeSet, fmt, str::FromStr};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::{ApiError, Reason};
use crate::{
    domain::{OrganizationId, Timestamp, TokenId},
    store::{NewToken, Store, Token},
};

const PREFIX: &str = "rdv_";
const ID_DIGITS: usize = 32;
const SECRET_DIGITS: usize = 64;

/// The longest token that is looked at.
const MAX_LENGTH: usize = 512;

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read runs and retries.
    Read,
    /// Retry runs.
    Retry,
    /// Start, import and cancel runs.
    Write,
    /// See and remove what belongs to no organisation.
    Operator,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Read, Self::Retry, Self::Write, Self::Operator];

    /// The word in the ledger and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Retry => "retry",
            Self::Write => "write",
            Self::Operator => "operator",
        }
    }
}

/// A set of scopes; as text its words, separated by spaces (commas are read too).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: there are read, retry, write and operator")]
pub struct UnknownScope(pub String);

impl Scopes {
    /// What a token of an organisation can do without being an operator's.
    #[must_use]
    pub fn of_organization() -> Self {
        Self(BTreeSet::from([Scope::Read, Scope::Retry, Scope::Write]))
    }

    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Self(Scope::ALL.into())
    }

    /// Whether `scope` is one of them.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        words
            .map(|word| {
                let known = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
                known.ok_or_else(|| UnknownScope(word.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&words.join(" "))
    }
}

/// Makes a token: what to store, and the text to present, which is shown once.
///
/// # Errors
/// The system has no random numbers.
pub fn mint(
    organization: &OrganizationId,
    name: Option<&str>,
    scopes: &Scopes,
    now: Timestamp,
) -> Result<(NewToken, String), getrandom::Error> {
    let mut secret = [0_u8; SECRET_DIGITS / 2];
    getrandom::fill(&mut secret)?;
    let id = TokenId::generate(now);
    let word = id.as_str().trim_start_matches("tok_");
    let text = format!("{PREFIX}{word}_{}", hex(&secret));
    Ok((chosen(organization, name, scopes, &text, now), text))
}

/// A token whose text somebody chose: for development, where it may stand in a script.
#[must_use]
pub fn chosen(
    organization: &OrganizationId,
    name: Option<&str>,
    scopes: &Scopes,
    text: &str,
    now: Timestamp,
) -> NewToken {
    NewToken {
        id: id_of(text),
        organization_id: organization.clone(),
        name: name.map(str::to_owned),
        secret_hash: hash(text),
        scopes: scopes.to_string(),
        created_at: now,
    }
}

/// The id under which a presented text is stored.
fn id_of(text: &str) -> TokenId {
    let word = embedded_id(text).map_or_else(|| hash(text)[..16].to_owned(), str::to_owned);
    let id = format!("tok_{word}").parse();
    id.unwrap_or_else(|_| TokenId::generate(Timestamp::UNIX_EPOCH))
}

/// The id in a text of the form that [`mint`] makes.
fn embedded_id(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_hex = |word: &str, digits| {
        word.len() == digits && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    (is_hex(id, ID_DIGITS) && is_hex(secret, SECRET_DIGITS)).then_some(id)
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The token behind a request, if it may do what `scope` says.
///
/// # Errors
/// 401 without a known token, 403 without the scope, 503 without the ledger.
pub(super) async fn authenticate(
    store: &Store,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Token, ApiError> {
    let text = presented(headers)?;
    let stored = store.token(&id_of(text)).await?;
    authorize(verified(stored, text)?, scope)
}

/// The text in `Authorization: Bearer <text>`.
fn presented(headers: &HeaderMap) -> Result<&str, ApiError> {
    let missing = || {
        let message = "send a token: Authorization: Bearer <token>";
        ApiError::challenged(Reason::Unauthorized, message, "Bearer".into())
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => std::str::from_utf8(value.as_bytes()).map_err(|_| unknown())?,
        _ => return Err(missing()),
    };
    let (scheme, text) = value.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let text = text.trim();
    let is_token = (1..=MAX_LENGTH).contains(&text.len());
    is_token.then_some(text).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    let challenge = r#"Bearer error="invalid_token""#.into();
    ApiError::challenged(Reason::Unauthorized, "the token is not known", challenge)
}

/// The stored token if the presented text is its own. Without a stored one the work is the same,
/// so that the time taken tells nothing about which ids exist.
fn verified(stored: Option<Token>, text: &str) -> Result<Token, ApiError> {
    let no_hash = "0".repeat(SECRET_DIGITS);
    let expected = stored.as_ref().map_or(&no_hash, |token| &token.secret_hash);
    let same = bool::from(expected.as_bytes().ct_eq(hash(text).as_bytes()));
    stored
        .filter(|token| same && token.revoked_at.is_none())
        .ok_or_else(unknown)
}

fn authorize(token: Token, scope: Scope) -> Result<Token, ApiError> {
    // Words that this version does not know allow nothing.
    let allowed = token.scopes.split(' ').any(|word| word == scope.as_str());
    if allowed {
        return Ok(token);
    }
    let name = scope.as_str();
    let message = format!("the token lacks the scope {name:?}");
    let challenge = format!(r#"Bearer error="insufficient_scope", scope="{name}""#);
    Err(ApiError::challenged(Reason::Forbidden, &message, challenge))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{http::HeaderValue, response::IntoResponse};
    use chrono::DateTime;

    fn organization() -> OrganizationId {
        "org_a".parse().unwrap()
    }

    fn minted(scopes: &str) -> (NewToken, String) {
        let now = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        mint(&organization(), None, &scopes.parse().unwrap(), now).unwrap()
    }

    fn stored(new: NewToken) -> Token {
        Token {
            id: new.id,
            organization_id: new.organization_id,
            name: new.name,
            secret_hash: new.secret_hash,
            scopes: new.scopes,
            created_at: new.created_at,
            revoked_at: None,
        }
    }

    fn status(result: Result<impl fmt::Debug, ApiError>) -> u16 {
        result.unwrap_err().reason().status().as_u16()
    }

    #[test]
    fn a_minted_token_is_found_by_its_id_and_verified_by_its_hash() {
        let (new, text) = minted("read retry");
        assert_eq!(text.len(), PREFIX.len() + ID_DIGITS + 1 + SECRET_DIGITS);
        assert_eq!(id_of(&text), new.id);
        assert_eq!(new.secret_hash, hash(&text));
        assert!(!format!("{new:?}").contains(&text));
        let token = stored(new);
        assert!(verified(Some(token.clone()), &text).is_ok());
        let (_, other) = minted("read");
        assert_ne!(other, text);
        assert_eq!(status(verified(Some(token.clone()), &other)), 401);
        assert_eq!(status(verified(None, &text)), 401);
        let revoked_at = Some(token.created_at);
        assert_eq!(
            status(verified(
                Some(Token {
                    revoked_at,
                    ..token
                }),
                &text
            )),
            401
        );
    }

    #[test]
    fn a_chosen_text_is_a_token_too() {
        let now = Timestamp::UNIX_EPOCH;
        for text in ["dev", "rdv_dev_token", "rdv_", "päss"] {
            let new = chosen(&organization(), None, &Scopes::all(), text, now);
            assert_eq!(new.id.as_str(), format!("tok_{}", &hash(text)[..16]));
            assert!(verified(Some(stored(new)), text).is_ok(), "{text}");
        }
        // A text of the minted form keeps its id, so that it is found again.
        let (minted, text) = minted("read");
        let again = chosen(&organization(), None, &Scopes::all(), &text, now);
        assert_eq!(again.id, minted.id);
    }

    #[test]
    fn a_missing_scope_is_named() {
        let token = stored(minted("read,retry").0);
        assert!(authorize(token.clone(), Scope::Retry).is_ok());
        let refused = authorize(token, Scope::Write).unwrap_err().into_response();
        assert_eq!(refused.status(), 403);
        assert_eq!(
            refused.headers()[header::WWW_AUTHENTICATE],
            r#"Bearer error="insufficient_scope", scope="write""#
        );
    }

    #[test]
    fn scopes_read_as_they_are_written() {
        let scopes: Scopes = "write, read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read write");
        assert!(scopes.allow(Scope::Read) && !scopes.allow(Scope::Retry));
        assert_eq!(Scopes::all().to_string(), "read retry write operator");
        assert_eq!("admin".parse::<Scopes>(), Err(UnknownScope("admin".into())));
    }

    #[test]
    fn the_header_is_read_by_its_rules() {
        let headers = |values: &[&str]| -> HeaderMap {
            let values = values
                .iter()
                .map(|value| HeaderValue::from_str(value).unwrap());
            values.map(|value| (header::AUTHORIZATION, value)).collect()
        };
        assert_eq!(presented(&headers(&["bearer  abc "])).unwrap(), "abc");
        let long = format!("Bearer {}", "a".repeat(MAX_LENGTH + 1));
        for bad in [
            &[][..],
            &["Basic abc"],
            &["Bearer"],
            &["Bearer "],
            &[&long],
            &["Bearer a", "Bearer b"],
        ] {
            let refused = presented(&headers(bad)).unwrap_err().into_response();
            assert_eq!(refused.status(), 401, "{bad:?}");
            let challenge = refused.headers()[header::WWW_AUTHENTICATE]
                .to_str()
                .unwrap();
            assert!(challenge.starts_with("Bearer"), "{bad:?}");
        }
    }
}
