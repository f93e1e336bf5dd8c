//! What holds of answers and commands, whatever they are.

use bytes::{Bytes, BytesMut};

use super::resp::{Decoder, encode};
use super::{Command, Reply};

/// A server's answers are the same in whatever pieces they come, and a command is read as it was
/// written.
///
/// # Panics
/// If they are not.
pub fn replies(input: &[u8]) {
    let whole = decoded(input, input.len().max(1));
    for size in [1, 2, 3, 16, 61] {
        let pieces = decoded(input, size);
        assert_eq!(pieces, whole, "in pieces of {size}");
    }

    let args: Vec<_> = input.split(|byte| *byte == b' ').collect();
    let command = args.iter().fold(Command::new("SET"), |command, arg| {
        command.arg(Bytes::copy_from_slice(arg))
    });
    let sent = encode(&[&command]).concat();
    let read = [b"SET".as_slice()].into_iter().chain(args);
    let read = read.map(|arg| Reply::Bytes(Bytes::copy_from_slice(arg)));
    let expected = Answers {
        answers: vec![Ok(Reply::Array(read.collect()))],
        is_refused: false,
    };
    assert_eq!(decoded(&sent, sent.len()), expected);
}

#[derive(Debug, PartialEq)]
struct Answers {
    answers: Vec<Result<Reply, String>>,
    is_refused: bool,
}

/// The answers of a stream that comes in pieces of one size, up to where it is refused.
fn decoded(stream: &[u8], size: usize) -> Answers {
    let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
    let mut answers = Vec::new();
    for piece in stream.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buffer) {
                Ok(Some(answer)) => {
                    answers.push(answer.map_err(|error| error.to_string()));
                }
                Ok(None) => break,
                Err(_) => {
                    return Answers {
                        answers,
                        is_refused: true,
                    };
                }
            }
        }
    }
    Answers {
        answers,
        is_refused: false,
    }
}
