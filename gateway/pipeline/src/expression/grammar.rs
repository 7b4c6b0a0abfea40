//! The language of expressions.
//!
//! ```text
//! sum     = product { ("+" | "-") product }
//! product = sign { ("*" | "/" | "%") sign }
//! sign    = ("-" | "+") sign | power
//! power   = atom [ "^" sign ]
//! atom    = number | tag | function "(" sum { "," sum } ")" | "(" sum ")"
//! tag     = letter or "_" { letter | digit | "_" | "." } | "{" any tag name "}"
//! ```
//!
//! So `-a^2` is `-(a^2)` and `a^b^c` is `a^(b^c)`, as in mathematics. The library that calculates has rules of its own for these,
//! and stumbles over calls inside of calls; it therefore gets every operation in brackets of its own.

use std::ops::Range;

use super::operations::{Function, UNARY_MINUS, function};

/// Characters of an expression. Nobody writes longer ones by hand.
const MAX_LENGTH: usize = 1000;
/// Brackets, calls, signs and powers inside of each other; a bracket counts twice.
const MAX_DEPTH: u32 = 64;

/// What is wrong with an expression, and which bytes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// An expression that is well formed.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed<'a> {
    /// The same for the library, with [`variable`] in the place of tags.
    pub(super) text: String,
    /// The tags, each once, and where each stands first.
    pub(super) tags: Vec<(&'a str, Range<usize>)>,
}

/// How the tag of that index is called in [`Parsed::text`]. The library sorts names, and these sort by index.
pub(super) fn variable(index: usize) -> String {
    format!("v{index:04}")
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Parsed<'_>, Wrong> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        let message = format!("an expression has at most {MAX_LENGTH} characters");
        return Err(Wrong { at: 0..text.len(), message, help: None });
    }
    let mut parser = Parser { text, at: 0, depth: 0, tags: Vec::new() };
    let sum = parser.sum()?;
    match parser.peek() {
        None => Ok(Parsed { text: sum, tags: parser.tags }),
        Some(found) => Err(parser.unexpected(found)),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what is read next.
    at: usize,
    depth: u32,
    tags: Vec<(&'a str, Range<usize>)>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next character that is no white space, without reading it.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    /// Reads the character if it is next.
    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// Reads as long as the characters are such.
    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let (taken, _) = rest.split_at_checked(rest.find(|c| !wanted(c)).unwrap_or(rest.len())).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn sum(&mut self) -> Result<String, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong_here("the expression is nested too deeply"));
        }
        let mut left = self.product()?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.at += 1;
            left = format!("({left}{operator}{})", self.product()?);
        }
        self.depth -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<String, Wrong> {
        let mut left = self.sign()?;
        while let Some(operator @ ('*' | '/' | '%')) = self.peek() {
            self.at += 1;
            left = format!("({left}{operator}{})", self.sign()?);
        }
        Ok(left)
    }

    fn sign(&mut self) -> Result<String, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong_here("the expression is nested too deeply"));
        }
        let signed = if self.eat('-') {
            format!("({UNARY_MINUS}({}))", self.sign()?)
        } else if self.eat('+') {
            self.sign()?
        } else {
            self.power()?
        };
        self.depth -= 1;
        Ok(signed)
    }

    fn power(&mut self) -> Result<String, Wrong> {
        let base = self.atom()?;
        if self.eat('^') { Ok(format!("({base}^{})", self.sign()?)) } else { Ok(base) }
    }

    fn atom(&mut self) -> Result<String, Wrong> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.closing_bracket()?;
                Ok(inner)
            }
            Some('{') => self.braced_tag(),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.word(),
            Some(found) => Err(self.unexpected(found)),
            None => Err(self.wrong_here("the expression ends where a number or a tag is expected")),
        }
    }

    fn closing_bracket(&mut self) -> Result<(), Wrong> {
        if self.eat(')') {
            return Ok(());
        }
        match self.peek() {
            Some(found) => Err(self.unexpected(found)),
            None => Err(self.wrong_here("a bracket is not closed")),
        }
    }

    fn number(&mut self) -> Result<String, Wrong> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit() || c == '.');
        let rest = self.rest();
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.starts_with(|c: char| c.is_ascii_digit()) {
                self.at += rest.len() - digits.len();
                self.take_while(|c| c.is_ascii_digit());
            }
        }
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let at = start..self.at;
        let text = self.text.get(at.clone()).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number.to_string()),
            _ => {
                let help = "a tag whose name begins with a digit stands in braces: {1st_phase}".to_owned();
                Err(Wrong { at, message: format!("{text} is not a number"), help: Some(help) })
            }
        }
    }

    fn braced_tag(&mut self) -> Result<String, Wrong> {
        let start = self.at;
        self.at += 1;
        let name = self.take_while(|c| c != '}');
        if !self.eat('}') {
            let message = "a brace is not closed".to_owned();
            return Err(Wrong { at: start..self.at, message, help: None });
        }
        Ok(self.tag(name.trim(), start..self.at))
    }

    /// A tag, or a function when a bracket follows.
    fn word(&mut self) -> Result<String, Wrong> {
        let start = self.at;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let at = start..self.at;
        if self.eat('(') { self.call(word, at) } else { Ok(self.tag(word, at)) }
    }

    fn tag(&mut self, name: &'a str, at: Range<usize>) -> String {
        let known = self.tags.iter().position(|(known, _)| *known == name);
        let index = known.unwrap_or_else(|| {
            self.tags.push((name, at));
            self.tags.len() - 1
        });
        format!("{{{}}}", variable(index))
    }

    /// A call, whose opening bracket has been read.
    fn call(&mut self, name: &str, at: Range<usize>) -> Result<String, Wrong> {
        let mut arguments = vec![self.sum()?];
        while self.eat(',') {
            arguments.push(self.sum()?);
        }
        self.closing_bracket()?;
        let Some(function) = function(name) else {
            let help = Some(format!("known are {}", super::operations::names().join(", ")));
            return Err(Wrong { at, message: format!("unknown function {name}"), help });
        };
        let count = arguments.len();
        let wrong = |takes: &str| {
            let message = format!("{name} takes {takes}, but gets {count}");
            Err(Wrong { at: at.clone(), message, help: None })
        };
        match (function, arguments.as_slice()) {
            (Function::One, [argument]) => Ok(format!("({name}({argument}))")),
            (Function::Two, [left, right]) => Ok(format!("({left} {name} {right})")),
            (Function::Many, [first, rest @ ..]) if !rest.is_empty() => {
                Ok(rest.iter().fold(first.clone(), |left, right| format!("({left} {name} {right})")))
            }
            (Function::One, _) => wrong("one value"),
            (Function::Two, _) => wrong("two values"),
            (Function::Many, _) => wrong("two values or more"),
        }
    }

    fn unexpected(&self, found: char) -> Wrong {
        let help = match found {
            '=' | '<' | '>' | '&' | '|' | '!' | '?' => {
                Some("an expression calculates a number; it does not compare".to_owned())
            }
            '"' | '\'' => Some("an expression calculates with numbers, not with texts".to_owned()),
            _ => None,
        };
        let message = format!("{found:?} is not expected here");
        Wrong { at: self.at..self.at + found.len_utf8(), message, help }
    }

    fn wrong_here(&self, message: &str) -> Wrong {
        Wrong { at: self.at..self.at, message: message.to_owned(), help: None }
    }
}
