//! RESP2: commands as a server reads them, and replies as it writes them.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use super::command::Command;
use super::reply::Reply;
use crate::redis::error::RedisError;

/// An argument of at least this many bytes is sent from where it is, without a copy.
pub(super) const LARGE: usize = 32 * 1_024;

/// Encodes commands in pieces, so that no large argument is copied.
pub(super) fn encode(commands: &[&Command]) -> Vec<Bytes> {
    let small = |arg: &Bytes| if arg.len() < LARGE { arg.len() } else { 0 };
    let size = |command: &&Command| {
        let args = command.args.iter();
        48 + args.map(|arg| small(arg) + 16).sum::<usize>()
    };
    let mut pieces = Vec::with_capacity(1);
    let mut encoded = BytesMut::with_capacity(commands.iter().map(size).sum());
    for command in commands {
        head(&mut encoded, b'*', command.args.len() + 1);
        head(&mut encoded, b'$', command.name.len());
        encoded.extend_from_slice(command.name.as_bytes());
        encoded.extend_from_slice(b"\r\n");
        for arg in &command.args {
            head(&mut encoded, b'$', arg.len());
            if arg.len() < LARGE {
                encoded.extend_from_slice(arg);
            } else {
                pieces.extend([encoded.split().freeze(), arg.clone()]);
            }
            encoded.extend_from_slice(b"\r\n");
        }
    }
    pieces.push(encoded.freeze());
    pieces
}

/// Appends the length of what follows.
fn head(encoded: &mut BytesMut, kind: u8, length: usize) {
    encoded.extend_from_slice(&[kind]);
    encoded.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    encoded.extend_from_slice(b"\r\n");
}

/// How deeply lists are nested at most; the replies to the saver's commands are three deep.
const MAX_DEPTH: usize = 32;
/// How long a line is at most: a number, a status or an error.
const MAX_LINE: usize = 1_024 * 1_024;

/// Decodes the replies in a buffer that is read bit by bit.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// How far a reply that is not complete yet was looked at, so that no part is looked at twice.
    progress: Option<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The offset of the next value.
    at: usize,
    /// How many values are missing from each list that has begun.
    lists: Vec<usize>,
}

impl Decoder {
    /// Takes the first reply out of the buffer; `None` if it is not complete. The outer error means
    /// that the bytes are no RESP2, the inner one is an error reply.
    pub(super) fn next(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<Result<Reply, RedisError>>, RedisError> {
        let Some(first) = buffer.first() else {
            return Ok(None);
        };
        if *first == b'*' {
            // The parser recurses into lists, so their depth is checked before it runs.
            self.begin();
        }
        if self.missing(buffer)? > 0 {
            return Ok(None);
        }
        let decoded = decode_range(buffer).map_err(|error| malformed(error.to_string()))?;
        let Some((frame, length)) = decoded else {
            self.begin();
            return Ok(None);
        };
        self.progress = None;
        let bytes = buffer.split_to(length).freeze();
        Ok(Some(reply_of(&bytes, frame)))
    }

    fn begin(&mut self) {
        self.progress.get_or_insert_with(|| Progress {
            at: 0,
            lists: vec![1],
        });
    }

    /// How many bytes are missing at least from the reply at the start of the buffer.
    pub(super) fn missing(&mut self, buffer: &[u8]) -> Result<usize, RedisError> {
        let Some(Progress { at, lists }) = &mut self.progress else {
            return Ok(0);
        };
        while let Some(values) = lists.last_mut() {
            if *values == 0 {
                lists.pop();
                continue;
            }
            let rest = buffer.get(*at..).unwrap_or_default();
            let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
                if rest.len() > MAX_LINE {
                    return Err(malformed("a line has no end".to_owned()));
                }
                return Ok(1);
            };
            let head = &rest[..end];
            let length = || {
                let digits = std::str::from_utf8(head.get(1..).unwrap_or_default());
                let length = digits.ok().and_then(|digits| digits.parse::<i64>().ok());
                length.ok_or_else(|| malformed("a length is not a number".to_owned()))
            };
            let mut next = *at + end + 2;
            let mut inner = 0;
            match head.first() {
                // The length of a null is -1.
                Some(b'*') => inner = usize::try_from(length()?).unwrap_or(0),
                Some(b'$') => {
                    if let Ok(length) = usize::try_from(length()?) {
                        next = next.saturating_add(length).saturating_add(2);
                        if next > buffer.len() {
                            return Ok(next - buffer.len());
                        }
                    }
                }
                Some(b'+' | b'-' | b':') => {}
                _ => return Err(malformed("a value has an unknown type".to_owned())),
            }
            *at = next;
            *values -= 1;
            if inner > 0 {
                if lists.len() > MAX_DEPTH {
                    return Err(malformed("lists are nested too deeply".to_owned()));
                }
                lists.push(inner);
            }
        }
        Ok(0)
    }
}

/// The error of a connection whose bytes cannot be read.
fn malformed(reason: String) -> RedisError {
    RedisError::lost(reason)
}

/// A reply. One that contains an error, as a transaction's may, is that error.
fn reply_of(bytes: &Bytes, frame: RangeFrame) -> Result<Reply, RedisError> {
    Ok(match frame {
        RangeFrame::Null => Reply::Nil,
        RangeFrame::Integer(number) => Reply::Int(number),
        RangeFrame::SimpleString((start, end)) | RangeFrame::BulkString((start, end)) => {
            Reply::Bytes(bytes.slice(start..end))
        }
        RangeFrame::Array(frames) => {
            let replies = frames.into_iter().map(|frame| reply_of(bytes, frame));
            Reply::Array(replies.collect::<Result<_, _>>()?)
        }
        // It may quote an argument, cut in the middle of a character.
        RangeFrame::Error((start, end)) => {
            let message = String::from_utf8_lossy(&bytes[start..end]);
            return Err(RedisError::reply(&message));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(commands: &[Command]) -> Vec<Bytes> {
        encode(&commands.iter().collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_encoded_as_the_protocol_wants_them() {
        let get = Command::on("GET", Bytes::from("key"));
        let set = Command::on("SET", Bytes::from("k\r\n")).arg(Bytes::new());
        let long = Command::new("PING").arg(Bytes::from("0123456789"));
        assert_eq!(
            pieces(&[get, set, long]).concat(),
            b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n\
              *3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n\
              *2\r\n$4\r\nPING\r\n$10\r\n0123456789\r\n"
        );
    }

    #[test]
    fn a_large_argument_is_not_copied() {
        let large = Bytes::from(vec![b'x'; LARGE]);
        let command = Command::new("SET").arg("key").arg(large.clone()).arg("NX");
        let pieces = pieces(&[command]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2], "\r\n$2\r\nNX\r\n");
    }

    #[test]
    fn replies_are_the_same_however_they_are_cut() {
        let sent = b"+OK\r\n:-7\r\n$-1\r\n$4\r\na\r\nb\r\n*-1\r\n*0\r\n*3\r\n$0\r\n\r\n*1\r\n$2\r\nxy\r\n:1\r\n-ERR no\r\n*2\r\n:1\r\n-ERR in it\r\n";
        let text = |text: &'static str| Reply::Bytes(Bytes::from(text));
        let list = vec![text(""), Reply::Array(vec![text("xy")]), Reply::Int(1)];
        let expected = [
            Ok(text("OK")),
            Ok(Reply::Int(-7)),
            Ok(Reply::Nil),
            Ok(text("a\r\nb")),
            Ok(Reply::Nil),
            Ok(Reply::Array(Vec::new())),
            Ok(Reply::Array(list)),
            Err("ERR no".to_owned()),
            Err("ERR in it".to_owned()),
        ];
        for size in 1..sent.len() {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
            let mut replies = Vec::new();
            for piece in sent.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some(reply) = decoder.next(&mut buffer).unwrap() {
                    replies.push(reply.map_err(|error| error.message().to_owned()));
                }
            }
            assert_eq!(replies, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn the_missing_bytes_of_a_large_reply_are_known() {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        buffer.extend_from_slice(b"*2\r\n:1\r\n$100000\r\nabc");
        assert!(decoder.next(&mut buffer).unwrap().is_none());
        assert_eq!(decoder.missing(&buffer).unwrap(), 100_000 - 3 + 2);
    }

    #[test]
    fn an_error_that_is_cut_in_a_character_is_an_error_of_its_command_alone() {
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        buffer.extend_from_slice(b"-ERR unknown command 'EVALSHA', with args: '\xd1\r\n:1\r\n");
        let error = decoder.next(&mut buffer).unwrap().unwrap().unwrap_err();
        assert!(error.message().contains("EVALSHA"), "{error}");
        let next = decoder.next(&mut buffer).unwrap().unwrap().unwrap();
        assert_eq!(next, Reply::Int(1));
    }

    #[test]
    fn bytes_that_are_no_reply_are_refused() {
        let deep = "*1\r\n".repeat(100_000) + ":1\r\n";
        let many = "*9223372036854775807\r\n".repeat(40);
        let endless = "+".repeat(MAX_LINE + 2);
        for sent in [
            "hello\r\n",
            "*1\r\n?1\r\n",
            "$x\r\n",
            &deep,
            &many,
            &endless,
        ] {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(sent));
            let said = decoder.next(&mut buffer);
            let said = said.and_then(|_| decoder.missing(&buffer));
            assert!(said.is_err(), "{}", &sent[..sent.len().min(40)]);
        }
    }
}
