//! Each protocol in each of its forms: what was sent is what is counted.

use std::net::UdpSocket;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::encode::{self, gzip};
use super::{Intake, get, post, post_encoded};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn spans(protocol: &str, kind: &str, route: &str, status: &str) -> String {
    format!(
        "spans_total{{protocol=\"{protocol}\",kind=\"{kind}\",route=\"{route}\",status=\"{status}\"}}"
    )
}

#[test]
fn otlp_over_http() {
    let intake = Intake::start();
    let at = intake.at.otlp_http.as_str();
    let traces = encode::otlp_traces(7, 2, "/objects");
    assert_eq!(post(at, "/v1/traces", PROTOBUF, &traces), (200, "".into()));
    let compressed = gzip(&traces);
    let (status, _) = post_encoded(at, "/v1/traces", PROTOBUF, "gzip", &compressed);
    assert_eq!(status, 200);
    post(
        at,
        "/v1/traces",
        PROTOBUF,
        &encode::otlp_traces(3, 3, "/objects"),
    );
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"x"}}]},
        "scopeSpans":[{"scope":{"name":"x"},"spans":[
          {"name":"GET /objects","kind":2,"attributes":[
            {"key":"http.route","value":{"stringValue":"/objects"}},
            {"key":"http.response.status_code","value":{"intValue":"200"}}]},
          {"name":"GET /objects","kind":"SPAN_KIND_SERVER","attributes":[
            {"key":"http.response.status_code","value":{"intValue":404}}]}]}]}]}"#;
    let content_type = "application/json; charset=utf-8";
    assert_eq!(
        post(at, "/v1/traces", content_type, json.as_bytes()),
        (200, "{}".into())
    );
    assert_eq!(
        post(at, "/v1/metrics", PROTOBUF, &encode::otlp_metrics("a", 5)).0,
        200
    );
    let json = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"a","histogram":{"dataPoints":[{},{}],"aggregationTemporality":2}}]}]}]}"#;
    assert_eq!(post(at, "/v1/metrics", JSON, json.as_bytes()).0, 200);
    assert_eq!(post(at, "/v1/logs", PROTOBUF, &encode::otlp_logs(4)).0, 200);
    let json =
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}"#;
    assert_eq!(post(at, "/v1/logs", JSON, json.as_bytes()).0, 200);

    assert_eq!(
        intake.count(&spans("otlp_http", "server", "/objects", "200")),
        15
    );
    assert_eq!(
        intake.count(&spans("otlp_http", "server", "/objects", "404")),
        1
    );
    assert_eq!(
        intake.count(&spans("otlp_http", "client", "/objects", "200")),
        3
    );
    assert_eq!(
        intake.count("span_attributes_total{name=\"http.route\"}"),
        18
    );
    // The resource's are not the span's.
    assert_eq!(
        intake.count("span_attributes_total{name=\"service.name\"}"),
        0
    );
    assert_eq!(intake.count("metric_points_total{name=\"a\"}"), 7);
    assert_eq!(intake.count("log_records_total"), 5);
    assert_eq!(intake.count("requests_total{endpoint=\"otlp_traces\"}"), 4);
    assert!(intake.count("bytes_total") > 1000);
}

#[test]
fn otlp_over_grpc() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let intake = Intake::start();
    let traces = encode::otlp_traces(9, 2, "/objects");
    let call = |service: &str, message: &[u8], compressed: bool| {
        runtime.block_on(call(&intake.at.otlp_grpc, service, message, compressed))
    };
    let trace = "trace.v1.TraceService/Export";
    assert_eq!(call(trace, &traces, false), ("0".into(), vec![0; 5]));
    assert_eq!(call(trace, &gzip(&traces), true).0, "0");
    assert_eq!(
        call(
            "metrics.v1.MetricsService/Export",
            &encode::otlp_metrics("a", 5),
            false
        )
        .0,
        "0"
    );
    assert_eq!(
        call("logs.v1.LogsService/Export", &encode::otlp_logs(2), false).0,
        "0"
    );
    assert_eq!(call(trace, &[0x0a, 0x05, 1], false).0, "3");
    assert_eq!(
        call("profiles.v1.ProfilesService/Export", &[], false).0,
        "12"
    );

    assert_eq!(
        intake.count(&spans("otlp_grpc", "server", "/objects", "200")),
        18
    );
    assert_eq!(intake.count("metric_points_total{name=\"a\"}"), 5);
    assert_eq!(intake.count("log_records_total"), 2);
    assert_eq!(intake.count("rejected_total{reason=\"malformed\"}"), 1);
    assert_eq!(intake.count("rejected_total{reason=\"path\"}"), 1);
}

/// One unary call; gives its status and the bytes of the answer.
async fn call(address: &str, service: &str, message: &[u8], compressed: bool) -> (String, Vec<u8>) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[u8::from(compressed)][..], &length, message].concat();
    let mut request = Request::post(format!(
        "http://{address}/opentelemetry.proto.collector.{service}"
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers");
    if compressed {
        request = request.header("grpc-encoding", "gzip");
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let early = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let status = early.or(trailers.get("grpc-status").cloned()).unwrap();
    drop(sender);
    connection.await.unwrap().unwrap();
    (
        status.to_str().unwrap().to_owned(),
        body.to_bytes().to_vec(),
    )
}

#[test]
fn what_datadogs_agents_send() {
    let intake = Intake::start();
    let at = intake.at.datadog.as_str();
    let send = |path: &str, content_type: &str, encoding: &str, body: &[u8]| {
        post_encoded(at, path, content_type, encoding, body).0
    };
    let traces = "/api/v0.2/traces";
    let plain = encode::datadog_traces(6, "/objects");
    assert_eq!(send(traces, PROTOBUF, "gzip", &gzip(&plain)), 200);
    assert_eq!(send(traces, PROTOBUF, "zstd", &encode::zstd(&plain)), 200);
    let indexed = encode::datadog_indexed(5, "/objects");
    assert_eq!(send(traces, PROTOBUF, "zstd", &encode::zstd(&indexed)), 200);
    let stats = gzip(&encode::datadog_stats(200, "/objects"));
    assert_eq!(
        send("/api/v0.2/stats", "application/msgpack", "gzip", &stats),
        202
    );

    let point = encode::bytes(4, &encode::number(2, 1));
    let series = encode::bytes(1, &[encode::bytes(2, b"m"), point.clone(), point].concat());
    let zipped = encode::deflate(&series);
    assert_eq!(send("/api/v2/series", PROTOBUF, "deflate", &zipped), 202);
    let json = br#"{"series":[{"metric":"m","points":[[1,2],[3,4],[5,6]],"type":"gauge"}]}"#;
    assert_eq!(
        send("/api/v1/series", JSON, "deflate", &encode::deflate(json)),
        202
    );
    let sketch = encode::bytes(1, &[encode::bytes(1, b"d"), encode::bytes(7, &[])].concat());
    assert_eq!(
        send("/api/beta/sketches", PROTOBUF, "identity", &sketch),
        202
    );
    assert_eq!(send("/intake/", JSON, "identity", b"{\"events\":{}}"), 200);
    assert_eq!(
        send(
            "/api/v2/logs",
            JSON,
            "identity",
            br#"[{"message":"a"},{"message":"b"}]"#
        ),
        200
    );
    assert_eq!(
        get(at, "/api/v1/validate?api_key=0"),
        (200, "{\"valid\":true}".into())
    );

    assert_eq!(
        intake.count(&spans("datadog", "server", "/objects", "200")),
        17
    );
    let hits = spans("datadog", "server", "/objects", "200").replace("spans", "stats_hits");
    assert_eq!(intake.count(&hits), 200);
    assert_eq!(intake.count("metric_points_total{name=\"m\"}"), 5);
    assert_eq!(intake.count("metric_points_total{name=\"d\"}"), 1);
    assert_eq!(intake.count("log_records_total"), 2);
    assert!(!intake.counts().join("\n").contains("rejected"));
}

#[test]
fn statsd_over_udp() {
    let intake = Intake::start();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for sent in 1..=10 {
        let text = b"requests:1|c|#route:/objects\nlatency:1:2|d\n";
        socket.send_to(text, &intake.at.statsd).unwrap();
        intake.await_count("requests_total{endpoint=\"statsd\"}", sent);
    }
    intake.await_count("metric_points_total{name=\"requests\"}", 10);
    intake.await_count("metric_points_total{name=\"latency\"}", 20);
    socket.send_to(b"nonsense", &intake.at.statsd).unwrap();
    intake.await_count("rejected_total{reason=\"malformed\"}", 1);
}
