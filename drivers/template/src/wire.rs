//! The protocol as bytes. Nothing here does I/O.

/// The longest line, with its end.
pub(crate) const LONGEST_LINE: usize = 256;

/// What a device says about an item that it does not have.
pub(crate) const NO_SUCH_ITEM: &str = "?";

/// The request for an item.
pub(crate) fn read(item: &str) -> String {
    format!("read {item}\n")
}

/// The request that writes an item.
pub(crate) fn write(item: &str, value: f64) -> String {
    format!("write {item} {value}\n")
}

/// Why bytes are not the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The answer is about another item, or more than one line came.
    #[error("it is the answer to another request")]
    Foreign,
    /// What came is no line of text, or far too long.
    #[error("it is no line of the protocol")]
    Garbage,
}

/// What a device answers about `item`: the text behind its name. `None` when more bytes are needed.
pub(crate) fn answer<'a>(item: &str, bytes: &'a [u8]) -> Result<Option<&'a str>, Fault> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Fault::Garbage) };
    };
    let (line, rest) = bytes.split_at_checked(end).ok_or(Fault::Garbage)?;
    let line = str::from_utf8(line).map_err(|_| Fault::Garbage)?;
    let (name, text) = line.split_once(' ').ok_or(Fault::Garbage)?;
    if name != item || rest.len() > 1 {
        return Err(Fault::Foreign);
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_answer_and_a_cut_waits_for_more() {
        let line = b"level 12.5\n";
        assert_eq!(answer("level", line), Ok(Some("12.5")));
        for end in 0..line.len() {
            assert_eq!(answer("level", &line[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_is_not_the_answer_is_a_fault() {
        assert_eq!(answer("speed", b"level 12.5\n"), Err(Fault::Foreign));
        assert_eq!(answer("level", b"level 12.5\nlevel 13\n"), Err(Fault::Foreign));
        assert_eq!(answer("level", b"level\n"), Err(Fault::Garbage));
        assert_eq!(answer("level", b"level \xFF\n"), Err(Fault::Garbage));
        assert_eq!(answer("level", &[b'x'; LONGEST_LINE]), Err(Fault::Garbage));
    }
}
