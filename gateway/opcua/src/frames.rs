//! The parts of messages as they go by: what of them is not encrypted (OPC UA Part 6 §6.7.2, §7.1.2).

/// Bytes of a part that are kept at most: enough for the identifiers at the beginning of the answer to `CreateSession`.
const HEAD: usize = 256;
/// Bytes before which the length of a part is not known.
const LENGTH_AT: usize = 8;
/// Where the type of an unencrypted message is: behind the channel, the token and the numbers of the sequence and the request.
const BODY_AT: usize = 24;

/// Follows the parts of one direction.
#[derive(Default)]
pub(crate) struct Frames {
    head: Vec<u8>,
    /// Bytes of the part that are still to come, when its length is known.
    rest: Option<usize>,
    /// The bytes are no parts of messages.
    lost: bool,
}

/// The first bytes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a>(&'a [u8]);

impl Frames {
    /// Looks at bytes. `seen` gets each part once its first bytes are there. Returns how many of the bytes belong to parts that are
    /// whole.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut seen: impl FnMut(Head<'_>)) -> usize {
        let (mut at, mut whole) = (0, 0);
        while let (false, Some(left)) = (self.lost, bytes.get(at..).filter(|left| !left.is_empty())) {
            let Some(rest) = self.rest else {
                let take = left.len().min(LENGTH_AT.saturating_sub(self.head.len()));
                self.head.extend_from_slice(left.get(..take).unwrap_or_default());
                at += take;
                if self.head.len() == LENGTH_AT {
                    let length = number(&self.head, 4).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
                    self.lost = length <= LENGTH_AT;
                    self.rest = Some(length.saturating_sub(LENGTH_AT));
                }
                continue;
            };
            let take = left.len().min(rest);
            let kept = take.min(HEAD.saturating_sub(self.head.len()));
            self.head.extend_from_slice(left.get(..kept).unwrap_or_default());
            let shown = kept > 0 && (self.head.len() == HEAD || kept == rest);
            if shown {
                seen(Head(&self.head));
            }
            at += take;
            self.rest = Some(rest - take);
            if take == rest {
                self.head.clear();
                self.rest = None;
                whole = at;
            }
        }
        if self.lost { bytes.len() } else { whole }
    }

    /// Bytes of the part that are still to come, as far as its length is known.
    pub(crate) fn to_come(&self) -> usize {
        self.rest.unwrap_or(0)
    }
}

impl<'a> Head<'a> {
    /// Whether it is a part of a message within a channel.
    pub(crate) fn is_message(&self) -> bool {
        self.0.starts_with(b"MSG")
    }

    /// Of the part that opens a channel, its number and whether it is without security.
    pub(crate) fn opened(&self) -> Option<(u32, bool)> {
        let channel = self.0.starts_with(b"OPN").then(|| number(self.0, 8)).flatten()?;
        let length = usize::try_from(number(self.0, 12)?).ok()?;
        let policy = self.0.get(16..16_usize.checked_add(length)?)?;
        Some((channel, policy.ends_with(b"#None")))
    }

    /// Of a part without encryption: the number of the token, and that of the sequence.
    pub(crate) fn sequence(&self) -> Option<(u32, u32)> {
        Some((number(self.0, 12)?, number(self.0, 16)?))
    }

    /// Of a message without encryption: the number of its type, when it is one of the standard's.
    pub(crate) fn kind(&self) -> Option<u16> {
        match self.0.get(BODY_AT..BODY_AT + 4)? {
            [1, 0, low, high] => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        }
    }

    /// Of a message without encryption: what comes behind its type.
    pub(crate) fn body(&self) -> &'a [u8] {
        self.0.get(BODY_AT + 4..).unwrap_or_default()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 8).unwrap();
        [&kind[..], &length.to_le_bytes(), body].concat()
    }

    fn heads(bytes: &[u8], cut: usize) -> (Vec<Vec<u8>>, usize) {
        let (mut frames, mut found, mut whole) = (Frames::default(), Vec::new(), 0);
        for (at, piece) in bytes.chunks(cut.max(1)).enumerate() {
            let part = frames.feed(piece, |head| found.push(head.0.to_vec()));
            if part > 0 {
                whole = at * cut.max(1) + part;
            }
        }
        (found, whole)
    }

    #[test]
    fn parts_are_found_wherever_the_bytes_are_cut() {
        let long = vec![7; 3 * HEAD];
        let parts = [part(b"HELF", b"hello"), part(b"MSGC", &long), part(b"MSGF", b"x"), part(b"CLOF", &[1; HEAD - 8])];
        let mut bytes = parts.concat();
        let end = bytes.len();
        bytes.extend_from_slice(b"MSGF\x20");
        let expected: Vec<Vec<u8>> = parts.iter().map(|part| part[..part.len().min(HEAD)].to_vec()).collect();
        for cut in 1..bytes.len() {
            assert_eq!(heads(&bytes, cut), (expected.clone(), end), "{cut} bytes at a time");
        }
    }

    #[test]
    fn what_is_no_message_is_left_to_the_library() {
        assert_eq!(heads(b"GET / HTTP/1.1\r\n\r\n", 3).0.len(), 0);
        let mut frames = Frames::default();
        assert_eq!(frames.feed(b"MSGF\x01\x00\x00\x00abc", |_| ()), 11);
    }

    #[test]
    fn the_opening_of_a_channel_says_its_number_and_its_policy() {
        for (policy, plain) in [
            (&b"http://opcfoundation.org/UA/SecurityPolicy#None"[..], true),
            (b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256", false),
        ] {
            let length = u32::try_from(policy.len()).unwrap().to_le_bytes();
            let bytes = part(b"OPNF", &[&9_u32.to_le_bytes(), &length, policy, &[0; 40]].concat());
            assert_eq!(Head(&bytes).opened(), Some((9, plain)));
            for cut in 0..16 + policy.len() {
                assert_eq!(Head(&bytes[..cut]).opened(), None);
            }
        }
    }
}
