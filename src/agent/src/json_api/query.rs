//! The query of a request, taken strictly: an audience that was mistyped must not
//! become another one, so nothing is guessed, dropped or replaced.

use super::problem::{Kind, Problem};

/// Parameters in the order they were given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes `name=value&…` apart; `+` is a space, `%` two hex digits.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// Refuses parameters that are not among these.
    pub(super) fn expect(&self, names: &[&str]) -> Result<(), Problem> {
        let unknown = |(name, _): &&(String, String)| !names.contains(&name.as_str());
        if self.0.iter().any(|pair| unknown(&pair)) {
            let known = names.join(", ");
            return Err(Kind::BadRequest.because(match names {
                [] => "this path takes no query".to_owned(),
                _ => format!("the query has a parameter other than {known}"),
            }));
        }
        Ok(())
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let of_name = self.0.iter().filter(|(given, _)| given == name);
        of_name.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter that may be given once.
    pub(super) fn one(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Kind::BadRequest.because(format!("{name} is given more than once"))),
        }
    }
}

fn decode(text: &str) -> Result<String, Problem> {
    let bad = || Kind::BadRequest.because("the query is not percent-encoded UTF-8");
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = digit().zip(digit()).ok_or_else(bad)?;
                u8::try_from(high * 16 + low).map_err(|_impossible| bad())?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_not_utf8| bad())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Query;

    #[test]
    fn repeated_and_encoded_parameters_come_out_as_meant() {
        let query = Query::parse("audience=a+b&audience=c%2Fd%26&spiffe_id=").unwrap();
        assert_eq!(query.all("audience"), ["a b", "c/d&"]);
        assert_eq!(query.one("spiffe_id").unwrap().as_deref(), Some(""));
        assert!(query.one("audience").is_err());
        assert!(query.expect(&["audience"]).is_err());
        assert!(query.expect(&["audience", "spiffe_id"]).is_ok());
        assert_eq!(Query::parse("").unwrap(), Query::default());
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "%c3=1", "a=%+1"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_text_survives_encoding(text in any::<String>()) {
            let encoded: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            let query = Query::parse(&format!("a={encoded}")).unwrap();
            prop_assert_eq!(query.all("a"), [text]);
        }

        #[test]
        fn no_text_panics(text in "[ -~]{0,64}") {
            let _ = Query::parse(&text);
        }
    }
}
