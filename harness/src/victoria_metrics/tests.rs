//! With a real VictoriaMetrics.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::exporter::{Exporter, Exposed, Family, render};
use crate::test_support::{require, victoria_metrics};
use child::ScrapeJob;

/// Time for whatever normally takes a moment, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn exposed(family: Family, label: (&'static str, &str), value: f64, unix_ms: i64) -> Exposed {
    Exposed {
        family,
        labels: vec![(label.0, label.1.to_owned())],
        value,
        unix_ms,
    }
}

#[test]
fn its_version_is_known() {
    let Some(program) = require(child::find_program(None)) else {
        return;
    };
    let version = child::version(&program).unwrap();
    assert!(version.contains('.'), "{version}");
}

#[tokio::test]
async fn pushed_samples_give_the_cost_of_a_request() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_guard, client)) = victoria_metrics(directory.path(), &[]).await else {
        return;
    };
    let end = now().floor();
    let start = end - 5.0;
    let mut pushed = Vec::new();
    for half in -4..=13 {
        let ms = ((start + f64::from(half) * 0.5) * 1e3) as i64;
        let grown = f64::from(half + 4);
        let container = ("container", "target");
        pushed.push(exposed(
            Family::CpuUsageSecondsTotal,
            container,
            0.01 * grown,
            ms + 130,
        ));
        let route = ("route", "/objects");
        pushed.push(exposed(
            Family::HttpRequestsTotal,
            route,
            50.0 * grown,
            ms + 370,
        ));
    }
    // A reading that is pushed twice is there once.
    pushed.push(pushed[0].clone());
    client.import(render(&pushed)).await.unwrap();

    let selectors = Selectors::new("target", "/objects");
    let check = cross_check(&client, &selectors, (start, end), PATIENCE)
        .await
        .unwrap();
    assert_eq!((check.cpu.samples, check.requests.samples), (10, 10));
    assert!(
        (check.cpu_seconds_per_request / 2e-4 - 1.0).abs() < 1e-9,
        "{check:?}"
    );

    // The expression for pasting is at least one that the server understands.
    let (promql, time) = cross_check::pasted_query(&selectors, (start, end));
    let pasted = client.query(&promql, Some(time)).await.unwrap();
    let pasted = pasted[0].points[0].value;
    assert!((pasted / 2e-4 - 1.0).abs() < 0.25, "{pasted}");

    let range = client
        .query_range(&selectors.cpu, start, end, Duration::from_secs(1))
        .await
        .unwrap();
    assert!(range[0].points.len() >= 5, "{range:?}");

    let missing = Selectors::new("agent", "/objects");
    let error = cross_check(&client, &missing, (start, end), Duration::ZERO)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CrossCheckError::TooFewSamples { samples: 0, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn refusals_name_address_and_expression() {
    let directory = tempfile::tempdir().unwrap();
    let Some((guard, client)) = victoria_metrics(directory.path(), &[]).await else {
        return;
    };
    let error = client.query("sum(", None).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Refused { status: 422, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("/api/v1/query answered 422 to `sum(`:"),
        "{text}"
    );
    drop(guard);
    let error = client.query("up", None).await.unwrap_err();
    assert!(matches!(error, ClientError::Exchange { .. }), "{error}");
    let error = client.wait_ready(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, ClientError::NotReady { .. }), "{error}");
}

#[tokio::test]
async fn what_the_exporter_shows_is_scraped_with_its_own_timestamps() {
    let directory = tempfile::tempdir().unwrap();
    let exporter = Exporter::start().await.unwrap();
    // The first trial's target is gone; the file is written again for the second.
    let gone = ScrapeJob {
        name: "flora-bench".to_owned(),
        address: "127.0.0.1:1".parse().unwrap(),
    };
    let Some((_guard, client)) =
        victoria_metrics(directory.path(), std::slice::from_ref(&gone)).await
    else {
        return;
    };
    let job = ScrapeJob {
        address: exporter.address(),
        ..gone
    };
    fs::write(
        directory.path().join("scrape.yml"),
        child::scrape_config(&[job]),
    )
    .unwrap();
    client.reload().await.unwrap();

    let start = now();
    let mut published = Vec::new();
    let selector = Selectors::new("target", "/").cpu;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let found = loop {
        let ms = (now() * 1e3) as i64;
        published.push(ms);
        let label = ("container", "target");
        exporter.publish(vec![exposed(
            Family::CpuUsageSecondsTotal,
            label,
            ms as f64,
            ms,
        )]);
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.flush().await.unwrap();
        let series = client.raw(&selector, start, now() + 1.0).await.unwrap();
        if series.iter().any(|one| one.points.len() >= 3) {
            break series;
        }
        assert!(tokio::time::Instant::now() < deadline, "{series:?}");
    };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].labels["job"], "flora-bench");
    for point in &found[0].points {
        // The value is the timestamp: neither was replaced by the scrape's.
        assert!(published.contains(&((point.time * 1e3).round() as i64)));
        assert_eq!(point.value, (point.time * 1e3).round());
    }
}
