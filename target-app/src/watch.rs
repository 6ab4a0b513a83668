//! Where instrumentation looks on: at the begin and the end of each request, as a vendor's middleware
//! would. Without any, nothing is left of it.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::metrics::Route;

/// Looks on at requests.
pub trait Watch: Send + Sync + 'static {
    /// What it remembers of a request until its answer.
    type Span: Send;

    /// A request has arrived.
    fn begin(&self, request: &Request<Incoming>) -> Self::Span;

    /// Its answer is ready to be sent.
    fn end(&self, span: Self::Span, status: StatusCode);
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Watch for Nobody {
    type Span = ();

    fn begin(&self, _: &Request<Incoming>) {}

    fn end(&self, (): (), _: StatusCode) {}
}

/// The route of a path, such as `/objects`; none for a path that there isn't.
pub fn route(path: &str) -> Option<&'static str> {
    match Route::of(path) {
        Route::Other => None,
        route => Some(route.template()),
    }
}
