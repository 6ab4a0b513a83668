//! Why something that was sent is not counted, and what its sender is told.

use std::fmt;
use std::io::{self, ErrorKind};

use hyper::StatusCode;

/// Why something is not taken. All but the last two are the sender's fault for
/// good, and told so that it does not try again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// Nothing is taken at that path.
    Path,
    /// Not a method for that path.
    Method,
    /// Not a format that is read there.
    ContentType,
    /// Not a compression that is read.
    Encoding,
    /// Larger than the limit, before or after decompression.
    TooLarge,
    /// Not what its content type says.
    Malformed,
    /// The body did not arrive in time.
    Slow,
    /// The connection broke before all of it had arrived.
    Broken,
}

impl Refusal {
    /// The word in the counter's label.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Path => "path",
            Refusal::Method => "method",
            Refusal::ContentType => "content_type",
            Refusal::Encoding => "encoding",
            Refusal::TooLarge => "too_large",
            Refusal::Malformed => "malformed",
            Refusal::Slow => "slow",
            Refusal::Broken => "broken",
        }
    }

    /// What HTTP has for it.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Path => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::ContentType | Refusal::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Malformed | Refusal::Broken => StatusCode::BAD_REQUEST,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// What gRPC has for it (<https://grpc.io/docs/guides/status-codes/>).
    pub fn grpc_status(self) -> u8 {
        const INVALID_ARGUMENT: u8 = 3;
        const DEADLINE_EXCEEDED: u8 = 4;
        const UNIMPLEMENTED: u8 = 12;
        match self {
            Refusal::Path | Refusal::Method | Refusal::ContentType | Refusal::Encoding => {
                UNIMPLEMENTED
            }
            // Not RESOURCE_EXHAUSTED, after which some exporters try again.
            Refusal::TooLarge | Refusal::Malformed | Refusal::Broken => INVALID_ARGUMENT,
            Refusal::Slow => DEADLINE_EXCEEDED,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Path => "nothing is taken at this path",
            Refusal::Method => "this path takes another method",
            Refusal::ContentType => "this content type is not read here",
            Refusal::Encoding => "this content encoding is not read",
            Refusal::TooLarge => "the body is too large",
            Refusal::Malformed => "the body is not what its content type says",
            Refusal::Slow => "the body did not arrive in time",
            Refusal::Broken => "the body broke off",
        })
    }
}

/// What a reader of a body says: beyond the limit, or not what it should be.
impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::FileTooLarge => Refusal::TooLarge,
            _ => Refusal::Malformed,
        }
    }
}
