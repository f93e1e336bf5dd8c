//! JSON text: writing strings and numbers, and reading tokens.
//!
//! It knows nothing of Python, so that it can be fuzzed without it.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string, quotes included.
pub(super) fn write_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut rest = bytes;
    loop {
        let unescaped = unescaped_prefix(rest);
        out.extend_from_slice(&rest[..unescaped]);
        let Some(&byte) = rest.get(unescaped) else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        rest = &rest[unescaped + 1..];
    }
    out.push(b'"');
}

/// How many of the first bytes may stand in a JSON string as they are.
fn unescaped_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // Each term has the high bit of a byte set where that byte needs an
        // escape; a borrow can only set a bit above a byte that matched
        // already, so the test "any bit" never misses nor invents a match.
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5c);
        let found = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash);
        if found & HIGH != 0 {
            break;
        }
        at += 8;
    }
    at + bytes[at..]
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
        .unwrap_or(bytes.len() - at)
}

/// Appends a finite float in the shortest form that reads back the same.
pub(super) fn write_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

/// Appends an integer.
pub(super) fn write_int(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number as it stands in the text.
#[derive(Debug)]
pub(super) enum Number<'a> {
    /// Fits 64 bits with a sign.
    Signed(i64),
    /// An integer of any size, as its digits.
    Digits(&'a str),
    /// Has a fraction or an exponent.
    Float(f64),
}

/// A string of the text, its escapes resolved.
#[derive(Debug)]
pub(super) enum Text<'a> {
    /// Proper Unicode.
    Str(Cow<'a, str>),
    /// UTF-8 in which surrogates stand alone, as Python's `surrogatepass` writes it.
    Surrogates(Vec<u8>),
}

/// Why a text cannot be read.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) String);

type Result<T> = std::result::Result<T, Malformed>;

/// A cursor over one JSON text.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `text`, which must be UTF-8.
    pub(super) fn new(text: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(text)
            .map_err(|error| Malformed(format!("the JSON is not UTF-8: {error}")))?;
        Ok(Self { text, at: 0 })
    }

    /// An error that names where the cursor stands.
    pub(super) fn error(&self, what: &str) -> Malformed {
        Malformed(format!("invalid JSON: {what} at byte {}", self.at))
    }

    /// Skips blanks and shows the next byte; 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Whether nothing but blanks is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek() == 0 && self.at == self.text.len()
    }

    /// Steps over the byte that [`Reader::peek`] has just shown.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Steps over `byte`, or fails.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() == byte {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(&format!("expected '{}'", char::from(byte))))
    }

    /// Steps over `word` if it comes next.
    pub(super) fn keyword(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Reads the number that comes next.
    pub(super) fn number(&mut self) -> Result<Number<'a>> {
        let bytes = &self.text.as_bytes()[self.at..];
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let digits = sign + count_digits(&bytes[sign..]);
        let mut end = digits;
        let mut is_integer = true;
        if bytes.get(end) == Some(&b'.') {
            is_integer = false;
            end += 1 + count_digits(&bytes[end + 1..]);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            is_integer = false;
            end += 1;
            end += usize::from(matches!(bytes.get(end), Some(b'+' | b'-')));
            end += count_digits(&bytes[end..]);
        }
        if digits == sign {
            return Err(self.error("expected a value"));
        }
        let text = &self.text[self.at..self.at + end];
        let number = if !is_integer {
            match text.parse() {
                Ok(value) => Number::Float(value),
                Err(_) => return Err(self.error("malformed number")),
            }
        } else if let Ok(value) = text.parse() {
            Number::Signed(value)
        } else {
            Number::Digits(text)
        };
        self.at += end;
        Ok(number)
    }

    /// Reads the string that comes next; the cursor stands on its first quote.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>> {
        self.expect(b'"')?;
        let rest = &self.text[self.at..];
        match memchr::memchr2(b'"', b'\\', rest.as_bytes()) {
            Some(end) if rest.as_bytes()[end] == b'"' => {
                self.at += end + 1;
                Ok(Text::Str(Cow::Borrowed(&rest[..end])))
            }
            Some(end) => {
                self.at += end;
                self.escaped(rest.as_bytes()[..end].to_vec())
            }
            None => Err(self.error("string without an end")),
        }
    }

    /// The rest of a string that has escapes; `out` holds what came before them.
    #[cold]
    fn escaped(&mut self, mut out: Vec<u8>) -> Result<Text<'a>> {
        let bytes = self.text.as_bytes();
        loop {
            let rest = &bytes[self.at..];
            let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err(self.error("string without an end"));
            };
            out.extend_from_slice(&rest[..end]);
            self.at += end + 1;
            if rest[end] == b'"' {
                return Ok(match String::from_utf8(out) {
                    Ok(text) => Text::Str(Cow::Owned(text)),
                    Err(error) => Text::Surrogates(error.into_bytes()),
                });
            }
            let Some(&escape) = bytes.get(self.at) else {
                return Err(self.error("string without an end"));
            };
            self.at += 1;
            match escape {
                b'"' | b'\\' | b'/' => out.push(escape),
                b'b' => out.push(0x08),
                b'f' => out.push(0x0c),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'u' => {
                    let mut unit = self.hex4()?;
                    if (0xd800..0xdc00).contains(&unit) && bytes[self.at..].starts_with(b"\\u") {
                        let back = self.at;
                        self.at += 2;
                        let low = self.hex4()?;
                        if (0xdc00..0xe000).contains(&low) {
                            unit = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        } else {
                            self.at = back;
                        }
                    }
                    push_wtf8(&mut out, unit);
                }
                _ => return Err(self.error("unknown escape")),
            }
        }
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.map(|digits| u32::from_str_radix(digits, 16)) {
            Some(Ok(unit)) => {
                self.at += 4;
                Ok(unit)
            }
            _ => Err(self.error("malformed \\u escape")),
        }
    }
}

fn count_digits(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

/// Appends a code point in UTF-8; a lone surrogate in the form of its three bytes.
fn push_wtf8(out: &mut Vec<u8>, unit: u32) {
    if let Some(character) = char::from_u32(unit) {
        let mut buffer = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    } else {
        // Only a surrogate, U+D800 to U+DFFF, is no `char` here.
        let [_, _, high, low] = unit.to_be_bytes();
        let middle = ((high & 0x0f) << 2) | (low >> 6);
        out.extend_from_slice(&[0xe0 | (high >> 4), 0x80 | middle, 0x80 | (low & 0x3f)]);
    }
}
