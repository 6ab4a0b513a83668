//! From a request to its answer.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use flate2::{Compression, write::GzEncoder};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    RETRY_AFTER, VARY,
};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, http::response};
use tokio::task::yield_now;

use crate::accept_encoding::wants_gzip;
use crate::delivery::{Answer, Delivery, Outbox, Reservation};
use crate::metrics::{self, Labels, Requests, Route};
use crate::query::Overrides;
use crate::random::Random;
use crate::synthetic::Burn;
use crate::{objects, work};

/// The header that holds the digest of a request's work.
const X_WORK_DIGEST: HeaderName = HeaderName::from_static("x-work-digest");

/// The most objects in answers that clients haven't taken yet: some 240 MB of JSON.
const MAX_UNSENT_OBJECTS: u32 = 1_000_000;

/// Bytes compressed before other tasks of the same thread get their turn.
const GZIP_BYTES_PER_TURN: usize = 32 * 1024;

/// What all connections share.
#[derive(Debug)]
pub struct App {
    /// How many objects a request gets that doesn't say.
    pub objects: u32,
    /// How much work a request causes that doesn't say.
    pub work: u32,
    /// What all randomness is drawn from.
    pub seed: u64,
    /// Requests answered.
    pub requests: Requests,
    /// Room for objects in memory.
    pub unsent: Unsent,
    /// A known cost of every request for objects.
    burn: Burn,
    /// Requests for objects so far; the n-th always gets the same objects.
    drawn: AtomicU64,
}

/// How many objects are in answers not yet handed to the kernel. Without a bound, clients that
/// ask for much and read nothing would take all the memory there is.
#[derive(Debug, Default)]
pub struct Unsent(AtomicU32);

impl Unsent {
    /// Takes room for `objects`, or returns false if there isn't that much.
    pub fn take(&self, objects: u32) -> bool {
        let more = |unsent: u32| {
            unsent
                .checked_add(objects)
                .filter(|sum| *sum <= MAX_UNSENT_OBJECTS)
        };
        self.0.try_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Returns what was taken.
    pub fn give_back(&self, objects: u32) {
        self.0.fetch_sub(objects, Relaxed);
    }
}

/// An answer before its bytes are on the way: the head, the body, and the room both take.
struct Draft {
    head: response::Builder,
    body: Vec<u8>,
    reservation: Option<Reservation>,
}

impl App {
    /// An application that hasn't answered anything yet.
    pub fn new(objects: u32, work: u32, seed: u64, burn: Burn) -> Self {
        let (requests, unsent, drawn) = Default::default();
        Self {
            objects,
            work,
            seed,
            requests,
            unsent,
            burn,
            drawn,
        }
    }

    /// Answers `request`, which came in on the connection of `outbox`.
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        outbox: Arc<Outbox>,
    ) -> Response<Answer> {
        let has_body = !request.body().is_end_stream();
        let (request, _) = request.into_parts();
        let route = Route::of(request.uri.path());
        let mut draft = match (route, &request.method) {
            (Route::Other, _) => text(
                StatusCode::NOT_FOUND,
                "no such path; there are /objects, /healthz and /metrics\n",
            ),
            (_, method) if method != Method::GET && method != Method::HEAD => {
                let mut draft = text(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "only GET and HEAD are allowed here\n",
                );
                draft.head = draft
                    .head
                    .header(ALLOW, HeaderValue::from_static("GET, HEAD"));
                draft
            }
            (Route::Objects, _) => {
                let gzip = wants_gzip(
                    request
                        .headers
                        .get_all(ACCEPT_ENCODING)
                        .iter()
                        .map(HeaderValue::as_bytes),
                );
                self.answer_objects(request.uri.query().unwrap_or_default(), gzip)
                    .await
            }
            (Route::Healthz, _) => text(StatusCode::OK, "ok"),
            (Route::Metrics, _) => Draft::new(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                self.requests.render(),
            ),
        };
        if has_body {
            // Nobody reads it. To find the next request hyper would have to skip it, and would begin
            // before this answer has left, so that the two could no longer be counted separately.
            draft.head = draft
                .head
                .header(CONNECTION, HeaderValue::from_static("close"));
        }
        self.deliver(draft, &request.method, route, &outbox)
    }

    async fn answer_objects(self: &Arc<Self>, query: &str, gzip: bool) -> Draft {
        let overrides = match Overrides::parse(query) {
            Ok(overrides) => overrides,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let objects = overrides.objects.unwrap_or(self.objects);
        let work = overrides.work.unwrap_or(self.work);
        let Some(reservation) = Reservation::take(self, objects) else {
            let mut draft = text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many objects wait for clients to read them; try again later\n",
            );
            draft.head = draft
                .head
                .header(RETRY_AFTER, HeaderValue::from_static("1"));
            return draft;
        };

        self.burn.once();
        let n = self.drawn.fetch_add(1, Relaxed) + 1;
        let (mut for_objects, mut for_work) = Random::of_request(self.seed, n);
        let digest = work::run(work, &mut for_work).await;
        let json = objects::json(objects, &mut for_objects).await;

        let body = if gzip { compress(&json).await } else { json };
        let mut draft = Draft::new(StatusCode::OK, "application/json", body);
        draft.reservation = Some(reservation);
        draft.head = draft
            .head
            .header(VARY, HeaderValue::from_static("accept-encoding"));
        if gzip {
            draft.head = draft
                .head
                .header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Some(digest) = digest {
            draft.head = draft.head.header(X_WORK_DIGEST, digest.to_string());
        }
        draft
    }

    fn deliver(
        self: Arc<Self>,
        draft: Draft,
        method: &Method,
        route: Route,
        outbox: &Arc<Outbox>,
    ) -> Response<Answer> {
        let Draft {
            head,
            body,
            reservation,
        } = draft;
        let head = head.header(CONTENT_LENGTH, body.len());
        let body = if method == Method::HEAD {
            Bytes::new()
        } else {
            Bytes::from(body)
        };
        let response = head
            .body(())
            .expect("every header is made here, of valid characters");
        let labels = Labels::new(method, route, response.status());
        let delivery = Delivery {
            app: self,
            labels,
            reservation,
        };
        response.map(|()| Answer::new(body, delivery, outbox))
    }
}

impl Draft {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            head: Response::builder()
                .status(status)
                .header(CONTENT_TYPE, HeaderValue::from_static(content_type)),
            body: body.into(),
            reservation: None,
        }
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Draft {
    Draft::new(status, "text/plain; charset=utf-8", text.into())
}

async fn compress(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::default());
    for (turn, bytes) in plain.chunks(GZIP_BYTES_PER_TURN).enumerate() {
        if turn > 0 {
            yield_now().await;
        }
        gzip.write_all(bytes).expect("memory takes every byte");
    }
    gzip.finish().expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_unsent_objects_is_bounded_and_comes_back() {
        let app = Arc::new(App::new(20, 1, 1, Burn::default()));
        let most: Vec<Reservation> = (0..100)
            .map_while(|_| Reservation::take(&app, 10_000))
            .collect();
        assert_eq!(most.len(), 100);
        assert!(Reservation::take(&app, 1).is_none());
        assert!(Reservation::take(&app, 0).is_some());
        drop(most);
        assert!(Reservation::take(&app, MAX_UNSENT_OBJECTS).is_some());
        assert!(!app.unsent.take(u32::MAX));
    }
}
