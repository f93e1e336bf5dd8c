//! Pieces of what is stored: how one is kept is said in its first byte.

use std::cell::RefCell;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

/// The piece is kept as it is.
pub(crate) const AS_IS: u8 = 0;
/// It is a Zstandard frame without the magic number, made with the first dictionary.
pub(crate) const ZSTD: u8 = 1;
/// It is an index part, always as it is, so that scripts can walk it.
pub(crate) const INDEX: u8 = 2;

/// It is sealed; what is in it is a piece again.
pub(crate) const SEALED: u8 = 3;

/// Why a text is refused that would take too much memory.
const TOO_LONG: &str = "it has more bytes than is allowed: raise `max_document_bytes`";

/// What every Zstandard frame starts with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Text below this many bytes is kept as it is: compressing it saves nothing.
const WORTH_TRYING: usize = 48;
/// The level of compression: the third gains one byte in a hundred and takes twice as long.
const LEVEL: i32 = 1;
/// What texts of LangGraph and LangChain have in common, with the statistics of their bytes. It
/// belongs to the format: a better one gets a kind of piece of its own.
static DICTIONARY: &[u8] = include_bytes!("dictionary_1.bin");

static ENCODER: LazyLock<Option<EncoderDictionary<'static>>> =
    LazyLock::new(|| EncoderDictionary::try_copy(DICTIONARY, LEVEL).ok());
static DECODER: LazyLock<Option<DecoderDictionary<'static>>> =
    LazyLock::new(|| DecoderDictionary::try_copy(DICTIONARY).ok());

thread_local! {
    /// A context of Zstandard takes longer to make than a head to compress.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The piece for a text: compressed if that saves anything.
pub(crate) fn pack(text: &[u8]) -> Bytes {
    if text.len() >= WORTH_TRYING
        && let Some(frame) = compress(text)
        && let Some(frame) = frame.strip_prefix(&MAGIC)
        && frame.len() < text.len()
    {
        return piece(ZSTD, frame);
    }
    piece(AS_IS, text)
}

/// The text of a piece, which is not allowed to have more than `limit` bytes.
pub(crate) fn unpack(piece: &Bytes, limit: usize) -> Result<Bytes, &'static str> {
    match piece.split_first() {
        Some((&AS_IS, text)) if text.len() <= limit => Ok(piece.slice_ref(text)),
        Some((&ZSTD, frame)) => decompress(frame, limit).map(Bytes::from),
        Some((&AS_IS, _)) => Err(TOO_LONG),
        Some(_) => Err("it says of itself what this version does not know"),
        None => Err("it is empty"),
    }
}

/// A piece: the byte that says how it is kept, and what is kept.
pub(crate) fn piece(kind: u8, content: &[u8]) -> Bytes {
    let mut piece = BytesMut::with_capacity(content.len() + 1);
    piece.put_u8(kind);
    piece.put_slice(content);
    piece.freeze()
}

/// `None` if there is no memory for it.
fn compress(text: &[u8]) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            let mut compressor = Compressor::with_prepared_dictionary(ENCODER.as_ref()?).ok()?;
            // The kind of a piece says which dictionary it is.
            compressor
                .set_parameter(CParameter::DictIdFlag(false))
                .ok()?;
            *slot = Some(compressor);
        }
        slot.as_mut()?.compress(text).ok()
    })
}

fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
    const BROKEN: &str = "it cannot be decompressed";
    let frame = [&MAGIC, frame].concat();
    let length = get_frame_content_size(&frame)
        .ok()
        .flatten()
        .and_then(|length| usize::try_from(length).ok())
        .ok_or(BROKEN)?;
    if length > limit {
        return Err(TOO_LONG);
    }
    let text = DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Decompressor::with_prepared_dictionary(DECODER.as_ref()?).ok();
        }
        slot.as_mut()?.decompress(&frame, length).ok()
    });
    text.filter(|text| text.len() == length).ok_or(BROKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_and_is_smaller_if_it_repeats_itself() {
        for text in [&b""[..], b"a", &b"0123456789".repeat(100)] {
            let packed = pack(text);
            assert!(packed.len() <= text.len() + 1);
            assert_eq!(unpack(&packed, text.len()).unwrap(), text);
        }
        assert!(pack(&b"0123456789".repeat(100)).len() < 40);
    }

    #[test]
    fn what_is_longer_than_the_limit_or_broken_is_refused() {
        let text = b"0123456789".repeat(100);
        let packed = pack(&text);
        assert!(unpack(&packed, 999).is_err());
        assert!(unpack(&packed.slice(..packed.len() - 1), 1_000).is_err());
        assert!(unpack(&piece(AS_IS, &text), 999).is_err());
        assert!(unpack(&piece(9, &text), 1_000).is_err());
        assert!(unpack(&Bytes::new(), 1_000).is_err());
    }
}
