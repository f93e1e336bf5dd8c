//! Numbers and texts one after another in bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::damage::Damage;

/// Writes a number in as few bytes as it takes, 7 bits each, the lowest first.
pub(crate) fn put_number(out: &mut BytesMut, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "these are the lowest bits")]
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is below 128")]
    out.put_u8(rest as u8);
}

/// Writes a text behind its length.
pub(crate) fn put_text(out: &mut BytesMut, text: &[u8]) {
    put_number(out, text.len());
    out.put_slice(text);
}

/// Reads what was written one after another.
pub(crate) struct Cursor(Bytes);

impl Cursor {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Whether all was read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left: no list has more members.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damage> {
        self.0.try_get_u8().map_err(|_| ends_early())
    }

    pub(crate) fn u16(&mut self) -> Result<usize, Damage> {
        self.0
            .try_get_u16()
            .map(usize::from)
            .map_err(|_| ends_early())
    }

    pub(crate) fn u32(&mut self) -> Result<usize, Damage> {
        let number = self.0.try_get_u32().map_err(|_| ends_early())?;
        usize::try_from(number).map_err(|_| ends_early())
    }

    /// Reads what [`put_number`] wrote.
    pub(crate) fn number(&mut self) -> Result<usize, Damage> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = usize::from(byte & 0x7f);
            number |= bits << shift;
            if number >> shift != bits {
                break;
            }
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damage::text("a number in it is too large"))
    }

    /// Takes this number of bytes, shared.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, Damage> {
        if length > self.0.len() {
            return Err(ends_early());
        }
        Ok(self.0.split_to(length))
    }

    /// Reads what [`put_text`] wrote.
    pub(crate) fn text(&mut self) -> Result<Bytes, Damage> {
        let length = self.number()?;
        self.take(length)
    }

    /// The same as UTF-8.
    pub(crate) fn string(&mut self) -> Result<String, Damage> {
        String::from_utf8(self.text()?.into()).map_err(|_| Damage::text("a text in it is no UTF-8"))
    }

    /// What is left.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }
}

fn ends_early() -> Damage {
    Damage::text("it ends early")
}
