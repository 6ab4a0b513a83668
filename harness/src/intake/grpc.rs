//! Unary calls of gRPC (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>):
//! one message with a head of five bytes, and the outcome in trailers.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};

use super::body::{Encoding, Received, Room, SENT};
use super::refusal::Refusal;
use super::server::Body;

/// Bytes before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Receives the one message of a call, and how it is compressed.
///
/// # Errors
/// When there is no message or more than one, and as [`Room::receive`].
pub async fn message<'r>(
    request: &mut Request<Incoming>,
    room: &'r Room,
) -> Result<(Received<'r>, Encoding), Refusal> {
    let encoding = request.headers().get("grpc-encoding");
    let encoding = encoding.map_or(Some(Encoding::Identity), |name| {
        Encoding::of(name.to_str().ok()?)
    });
    let mut begun = Vec::new();
    while begun.len() < HEAD {
        // A sender that says nothing more holds a frame's room at most.
        let frame = request.body_mut().frame().await;
        let frame = frame.ok_or(Refusal::Malformed)?;
        let frame = frame.map_err(|_| Refusal::Broken)?;
        begun.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    let (head, _) = begun.split_at(HEAD);
    let compressed = head[0] == 1;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let length = u64::from(length) + HEAD as u64;
    if length > SENT {
        return Err(Refusal::TooLarge);
    }
    if begun.len() as u64 > length {
        return Err(Refusal::Malformed);
    }
    let mut received = room.rest(request.body_mut(), begun, Some(length)).await?;
    received.bytes.drain(..HEAD);
    let encoding = match compressed {
        true => encoding.ok_or(Refusal::Encoding)?,
        false => Encoding::Identity,
    };
    Ok((received, encoding))
}

/// The answer to a call: an empty message, whose fields all have their default,
/// or none and the reason.
pub fn answer(outcome: Result<(), Refusal>) -> Response<Body> {
    let status = outcome.map_or_else(Refusal::grpc_status, |()| 0);
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from(u16::from(status)));
    let body = match outcome {
        Ok(()) => Full::new(Bytes::from_static(&[0; HEAD]))
            .with_trailers(async move { Some(Ok::<_, Infallible>(end)) })
            .boxed_unsync(),
        Err(refusal) => {
            let message = HeaderValue::from_str(&refusal.to_string());
            end.insert("grpc-message", message.expect("plain words"));
            let mut response = Response::new(Full::default().boxed_unsync());
            response.headers_mut().extend(end);
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            return response;
        }
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
