//! Who asks.
//!
//! Tokens are not verified by this version; a session is nevertheless bound to the credential it
//! was opened with, so that a session id alone opens nothing for somebody who presents another.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};

use crate::session::principal::Principal;

/// The header that carries an API key.
const API_KEY: &str = "x-api-key";

/// The principal of a request: the digest of the credential it presents, or anonymous.
pub fn principal(headers: &HeaderMap) -> Principal {
    let credential = headers.get(AUTHORIZATION).or_else(|| headers.get(API_KEY));
    let Some(credential) = credential else { return Principal::anonymous() };
    Principal::of_credential(&hex(&Sha256::digest(credential.as_bytes())))
}

/// In hexadecimal. Every request with a credential has this written, so it formats nothing.
fn hex(digest: &[u8]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_credentials_are_different_principals() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            principal(&headers)
        };
        assert_eq!(principal(&HeaderMap::new()), Principal::anonymous());
        assert_eq!(with("authorization", "Bearer a"), with("authorization", "Bearer a"));
        assert_ne!(with("authorization", "Bearer a"), with("authorization", "Bearer b"));
        assert_ne!(with("x-api-key", "a"), Principal::anonymous());
    }

    #[test]
    fn a_digest_is_written_as_everywhere() {
        let digest = Sha256::digest(b"abc");
        assert_eq!(hex(&digest), format!("{digest:x}"));
    }
}
