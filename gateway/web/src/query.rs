//! What stands behind the question mark of a path.

/// The keys and values of `key=value&key=value`. What is written as `%2B` is decoded; a plus stays one.
///
/// # Errors
///
/// A sentence for a person.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, after)| Some((byte(digits)?, after)));
        let Some((byte, after)) = digits else {
            return Err(format!("after a % in \"{text}\" come two hexadecimal digits; a % itself is written %25"));
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| format!("\"{text}\" is no UTF-8"))
}

fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let number = digits.iter().try_fold(0, |number, one| Some(number * 16 + digit(one)?))?;
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("a=1&b=%C3%A4+%2b&&c").unwrap(), [pair("a", "1"), pair("b", "ä++"), pair("c", "")]);
        assert_eq!(pairs("").unwrap(), []);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for text in ["%", "a=%4", "a=%+1", "a=%g0", "%ff=1"] {
            assert!(pairs(text).is_err(), "{text}");
        }
    }
}
