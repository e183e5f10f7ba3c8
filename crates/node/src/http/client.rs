use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::status::NodeStatus;

/// On loopback a node that lives answers in milliseconds, one that swaps within seconds.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A status has less than 1 KiB for each shard, and for each that was taken. *Units:* bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why a node's status is not known.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens, or whoever does says nothing.
    #[error("no node answers at {address}: {error}")]
    NoAnswer {
        /// Where a node was expected.
        address: SocketAddr,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Something else listens there.
    #[error("what answers at {address} is no Ketch node: {reason}")]
    NotNode {
        /// Where a node was expected.
        address: SocketAddr,
        /// What a node would not have said.
        reason: NotNode,
    },
}

/// What a node would not have said.
#[derive(Debug, Error)]
pub enum NotNode {
    /// An answer without end.
    #[error("its answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// No HTTP.
    #[error("its answer is no HTTP")]
    NotHttp,
    /// Another code than that of success.
    #[error("it has no /v1/status (HTTP {0})")]
    Code(u16),
    /// The answer's text is not a status.
    #[error("its status is not understood: {0}")]
    NotStatus(#[from] serde_json::Error),
}

/// The status of the node whose HTTP server is at `address`.
///
/// *Shape:* blocks for 10 s at most.
///
/// *Errors:* see [`AskError`].
pub fn ask_status(address: SocketAddr) -> Result<NodeStatus, AskError> {
    ask(address, ANSWER_TIMEOUT).map(|(_, status)| status)
}

/// A node's status, behind the text in which it was told, if it is told within `patience`.
pub(crate) fn ask(
    address: SocketAddr,
    patience: Duration,
) -> Result<(String, NodeStatus), AskError> {
    let answer =
        answer(address, patience).map_err(|error| AskError::NoAnswer { address, error })?;
    read_status(&answer).map_err(|reason| AskError::NotNode { address, reason })
}

/// All that comes back, up to one byte more than it may be.
fn answer(address: SocketAddr, patience: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + patience;
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_write_timeout(Some(patience))?;
    // With version 1.0 the answer comes in one piece that ends with the connection.
    write!(stream, "GET /v1/status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    while answer.len() <= ANSWER_BYTES_MAX {
        // The time for all of it, so that one byte a second is no answer either.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) if answer.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => break,
            Ok(count) => answer.extend(piece.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

fn read_status(answer: &[u8]) -> Result<(String, NodeStatus), NotNode> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(NotNode::TooLong);
    }
    let answer = str::from_utf8(answer).map_err(|_| NotNode::NotHttp)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(NotNode::NotHttp)?;
    match code(head).ok_or(NotNode::NotHttp)? {
        200 => Ok((body.to_owned(), serde_json::from_str(body)?)),
        other => Err(NotNode::Code(other)),
    }
}

/// The code in an answer's first line.
fn code(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_is_taken_for_one() {
        let status = NodeStatus { role: "validator".into(), ..NodeStatus::default() };
        let body = serde_json::to_string(&status).unwrap();
        let answer = format!("HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\n{body}");
        assert_eq!(read_status(answer.as_bytes()).unwrap(), (body, status));
        assert!(matches!(read_status(b"HTTP/1.1 404 No\r\n\r\n"), Err(NotNode::Code(404))));
        assert!(matches!(read_status(b"HTTP/1.1 200 OK\r\n\r\n{}"), Err(NotNode::NotStatus(_))));
        for text in ["", "SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1\r\n\r\n"] {
            assert!(matches!(read_status(text.as_bytes()), Err(NotNode::NotHttp)), "{text}");
        }
        let long = vec![b' '; ANSWER_BYTES_MAX + 1];
        assert!(matches!(read_status(&long), Err(NotNode::TooLong)));
    }
}
