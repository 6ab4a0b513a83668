//! Request methods.

use crate::word::big;

/// Names by number. 0 stands for any other method, named as OpenTelemetry names it
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
pub const NAMES: [&str; 10] = [
    "_OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
];

/// Any other method.
pub const OTHER: u8 = 0;
/// GET.
pub const GET: u8 = 1;
/// HEAD, whose answers have no body.
pub const HEAD: u8 = 2;
/// POST.
pub const POST: u8 = 3;
/// PUT.
pub const PUT: u8 = 4;
/// DELETE.
pub const DELETE: u8 = 5;
/// PATCH.
pub const PATCH: u8 = 6;
/// OPTIONS.
pub const OPTIONS: u8 = 7;
/// TRACE.
pub const TRACE: u8 = 8;
/// CONNECT, after whose acceptance the connection is a tunnel.
pub const CONNECT: u8 = 9;

/// The method whose name, read as a big-endian number of its last eight bytes, is `name`.
#[inline(always)]
pub fn by_name(name: u64) -> u8 {
    const GET_: u64 = big(b"GET");
    const HEAD_: u64 = big(b"HEAD");
    const POST_: u64 = big(b"POST");
    const PUT_: u64 = big(b"PUT");
    const DELETE_: u64 = big(b"DELETE");
    const PATCH_: u64 = big(b"PATCH");
    const OPTIONS_: u64 = big(b"OPTIONS");
    const TRACE_: u64 = big(b"TRACE");
    const CONNECT_: u64 = big(b"CONNECT");
    match name {
        GET_ => GET,
        HEAD_ => HEAD,
        POST_ => POST,
        PUT_ => PUT,
        DELETE_ => DELETE,
        PATCH_ => PATCH,
        OPTIONS_ => OPTIONS,
        TRACE_ => TRACE,
        CONNECT_ => CONNECT,
        _ => OTHER,
    }
}
