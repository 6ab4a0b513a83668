//! `report.html` in a real browser: nothing in the console, nothing on the
//! network, charts that can be seen, no sideways scrolling on a phone.
//!
//! Needs Chromium. Without it the test says so and passes; with
//! `FLORA_BENCH_REQUIRE_ALL=1` it fails instead.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flora_bench::report::chart::CHARTS;
use flora_bench::report::{claims, render};
use serde_json::{Value, json};

use crate::fixtures;

const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// Far more than a page takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// A desk, a tablet, a phone.
const WIDTHS: [u64; 3] = [1200, 768, 360];

/// Loads the report at each width and measures it, from outside, through frames.
const CHECKER: &str = r#"<!doctype html><meta charset="utf-8"><body><pre id="result">pending</pre><script>
const widths = WIDTHS;
function measure(frame, width) {
  const page = frame.contentDocument, root = page.documentElement;
  const shown = [...page.querySelectorAll('figure:not(#chart-key) svg')].map(svg => svg.getBoundingClientRect())
    .filter(box => box.width > 0).map(box => [Math.round(box.width), Math.round(box.height)]);
  const inFrame = element => element.closest('.scroll, pre, svg');
  const wide = [...page.querySelectorAll('body *')]
    .filter(element => !inFrame(element) && element.tagName !== 'SCRIPT' && element.getBoundingClientRect().right > width + 0.5)
    .map(element => element.tagName + ' ' + element.textContent.slice(0, 40));
  return { width, scroll: root.scrollWidth, shown, wide, texts: page.querySelectorAll('svg text').length,
    heading: page.querySelector('h1').textContent };
}
const frames = widths.map(width => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:2000px;border:0`;
  frame.onload = () => done(measure(frame, width));
  frame.src = 'report.html';
  document.body.append(frame);
}));
Promise.all(frames).then(found => { document.getElementById('result').textContent = JSON.stringify(found); });
</script>"#;

#[test]
fn report_works_in_a_browser() {
    let Some(browser) = find() else { return };
    for (report, samples) in [
        fixtures::baseline(),
        fixtures::agents(),
        fixtures::many(),
        fixtures::turns(),
        fixtures::amplified(),
        fixtures::cpu_limit(),
        fixtures::saturation(),
        fixtures::memory_limit(),
        fixtures::single(),
    ] {
        // Every chart, the overhead as one drawing per headline claim.
        let compared = claims(&report, true).len();
        let drawn = CHARTS.iter().filter(|chart| chart.applies(&report));
        let expected = drawn.filter(|chart| chart.file != "overhead").count() + compared;
        let directory = tempfile::tempdir().unwrap();
        render(&report, &samples, directory.path()).unwrap();
        let checker = directory.path().join("checker.html");
        fs::write(&checker, CHECKER.replace("WIDTHS", &format!("{WIDTHS:?}"))).unwrap();
        let seen = visit(&browser, directory.path(), &checker);

        assert_eq!(
            seen.console,
            Vec::<String>::new(),
            "console of {}",
            report.run
        );
        assert_eq!(
            seen.requests,
            Vec::<String>::new(),
            "network of {}",
            report.run
        );
        let found = result(&seen.dom);
        for (page, width) in found.as_array().unwrap().iter().zip(WIDTHS) {
            let name = format!("{} at {width} px: {page}", report.run);
            assert_eq!(page["width"], width, "{name}");
            assert!(
                page["scroll"].as_u64().unwrap() <= width,
                "scrolls sideways: {name}"
            );
            assert_eq!(page["wide"].as_array().map(Vec::len), Some(0), "{name}");
            let charts = page["shown"].as_array().unwrap();
            assert_eq!(charts.len(), expected, "{name}");
            for chart in charts {
                assert!(
                    chart[0].as_u64().unwrap() >= width.min(900) * 8 / 10,
                    "a chart is small: {name}"
                );
                assert!(chart[1].as_u64().unwrap() >= 80, "a chart is flat: {name}");
            }
            assert!(page["texts"].as_u64().unwrap() > 40, "{name}");
            assert!(!page["heading"].as_str().unwrap().is_empty(), "{name}");
        }
    }
}

/// Does what a reader does, and writes down what the page shows then. The frame
/// without scripts shows what a browser without them does.
const READER: &str = r##"<!doctype html><meta charset="utf-8"><body><pre id="result">pending</pre><script>
const open = (address, sandbox) => new Promise(done => {
  const frame = document.createElement('iframe');
  frame.style = 'width:1100px;height:1500px;border:0';
  if (sandbox) frame.sandbox = 'allow-same-origin';
  frame.onload = () => done(frame);
  frame.src = address;
  document.body.append(frame);
});
const visible = element => element.getBoundingClientRect().height > 0;
const claims = page => [...page.querySelectorAll('.claim')].filter(visible).map(claim => claim.dataset.claim);
const rows = (page, id, column) => [...page.getElementById(id).tBodies[0].rows].filter(visible)
  .map(row => row.cells[column].textContent);
const heads = (page, id) => [...page.querySelectorAll(`#${id} th[aria-sort]`)]
  .map(head => head.cellIndex + ' ' + head.getAttribute('aria-sort'));
(async () => {
  const found = {};
  const frame = await open('report.html');
  const page = frame.contentDocument, view = frame.contentWindow;
  const say = (element, type) => element.dispatchEvent(new view.Event(type, { bubbles: true }));
  const hash = () => decodeURIComponent(view.location.hash);
  found.claims = claims(page);
  const figure = page.getElementById('figure');
  found.options = [...figure.options].map(option => option.value);
  figure.value = 'request_duration_seconds.target.p99';
  say(figure, 'change');
  found.chosen = claims(page);
  found.chosenHash = hash();
  const button = page.querySelectorAll('#comparisons thead th')[3].querySelector('button');
  button.focus();
  found.focused = page.activeElement === button && button.tabIndex === 0;
  button.click();
  found.ascending = rows(page, 'comparisons', 3);
  found.sorted = heads(page, 'comparisons');
  button.click();
  found.descending = rows(page, 'comparisons', 3);
  found.sortedHash = hash();
  button.click();
  found.again = rows(page, 'comparisons', 3);
  found.unsorted = heads(page, 'comparisons');
  const text = page.getElementById('text');
  text.value = 'open memory';
  say(text, 'input');
  found.filtered = rows(page, 'comparisons', 2);
  found.status = page.getElementById('status').textContent;
  page.getElementById('reset').click();
  found.reset = [claims(page), rows(page, 'comparisons', 2).length, text.value, hash()];
  const scenario = page.getElementById('scenario');
  scenario.value = 'flora';
  say(scenario, 'change');
  found.scenario = rows(page, 'comparisons', 2);
  found.sections = [...page.querySelectorAll('section.scenario')].filter(visible).map(s => s.dataset.scenario);

  const linked = (await open('report.html#figure=cpu_seconds_per_request.target&scenario=flora&sort=others,5,descending')).contentDocument;
  found.linked = [claims(linked), rows(linked, 'comparisons', 2), heads(linked, 'others'), linked.getElementById('scenario').value];
  const anchor = (await open('report.html#noise-floor')).contentDocument;
  found.anchor = claims(anchor);
  const odd = (await open('report.html#figure=%22%3E&sort=comparisons,99,ascending&sort=x&scenario=nobody')).contentDocument;
  found.odd = [claims(odd), rows(odd, 'comparisons', 2).length];
  const plain = (await open('report.html', true)).contentDocument;
  found.plain = [claims(plain), rows(plain, 'comparisons', 2).length, rows(plain, 'others', 2).length,
    visible(plain.querySelector('.controls')), plain.querySelectorAll('th button').length];
  document.getElementById('result').textContent = JSON.stringify(found);
})().catch(error => { document.getElementById('result').textContent = JSON.stringify({ error: String(error) }); });
</script>"##;

#[test]
fn a_reader_sorts_filters_and_chooses() {
    let Some(browser) = find() else { return };
    let (report, samples) = fixtures::agents();
    let ids = |headline| -> Vec<String> {
        let claims = claims(&report, headline);
        claims.iter().map(flora_bench::report::Claim::id).collect()
    };
    let (headline, others) = (ids(true), ids(false));
    let directory = tempfile::tempdir().unwrap();
    render(&report, &samples, directory.path()).unwrap();
    let reader = directory.path().join("reader.html");
    fs::write(&reader, READER).unwrap();
    let seen = visit(&browser, directory.path(), &reader);
    // The browser says so where it obeys the frame that forbids scripts.
    let forbidden = |line: &&String| line.contains("Blocked script execution");
    let console: Vec<&String> = seen
        .console
        .iter()
        .filter(|line| !forbidden(line))
        .collect();
    assert_eq!(console, Vec::<&String>::new());
    assert_eq!(seen.requests, Vec::<String>::new());

    let found = result(&seen.dom);
    let is = |key: &str, expected: Value| assert_eq!(found[key], expected, "{key} in {found:#}");
    is("claims", json!(headline));
    is(
        "options",
        json!([vec![String::new()], headline.clone(), others.clone()].concat()),
    );
    let p99 = "request_duration_seconds.target.p99";
    is("chosen", json!([p99]));
    is("chosenHash", json!(format!("#figure={p99}")));
    is("focused", json!(true));
    let ascending = [
        "+1 µs",
        "+7.8 µs",
        "+12 µs",
        "+55 µs",
        "+94 µs",
        "+18.3 MiB",
        "+147 MiB",
    ];
    is("ascending", json!(ascending));
    is("sorted", json!(["3 ascending"]));
    is(
        "descending",
        json!(ascending.iter().rev().collect::<Vec<_>>()),
    );
    is(
        "sortedHash",
        json!(format!("#figure={p99}&sort=comparisons,3,descending")),
    );
    let written = [
        "+12 µs",
        "+94 µs",
        "+7.8 µs",
        "+55 µs",
        "+1 µs",
        "+18.3 MiB",
        "+147 MiB",
    ];
    is("again", json!(written));
    is("unsorted", json!([]));
    is("filtered", json!(["opentelemetry-full-traces"]));
    assert!(
        found["status"].as_str().unwrap().contains(" of "),
        "{found:#}"
    );
    is("reset", json!([headline, 7, "", ""]));
    is("scenario", json!(["flora", "flora", "flora"]));
    is("sections", json!(["flora"]));
    let cpu = "cpu_seconds_per_request.target";
    is(
        "linked",
        json!([
            [cpu],
            ["flora", "flora", "flora"],
            ["5 descending"],
            "flora"
        ]),
    );
    is("anchor", json!(headline));
    is("odd", json!([headline, 7]));
    let everything = [headline.clone(), others.clone()].concat();
    is("plain", json!([everything, 7, 4, false, 0]));
}

/// A check that can't fail says nothing, so a page with every fault must be caught.
#[test]
fn faults_are_noticed() {
    const FAULTY: &str = r#"<!doctype html><img src="https://example.invalid/a.png">
        <script>console.error("broken")</script>"#;
    let Some(browser) = find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("faulty.html");
    fs::write(&page, FAULTY).unwrap();
    let seen = visit(&browser, directory.path(), &page);
    assert_eq!(seen.requests, ["https://example.invalid/a.png"]);
    assert!(
        seen.console.iter().any(|line| line.contains("broken")),
        "{:?}",
        seen.console
    );
}

/// The browser; without one, says loudly that nothing was tested, or fails where that is asked for.
fn find() -> Option<PathBuf> {
    let found = BROWSERS.iter().find_map(|name| on_path(name));
    if found.is_none() {
        skip(&format!(
            "no browser on PATH (looked for {})",
            BROWSERS.join(", ")
        ));
    }
    found
}

/// Says loudly that nothing was tested. The test runner keeps back what `eprintln!` says.
fn skip(why: &str) {
    let message = format!(
        "SKIPPED: the browser check of report.html: {why}; `apt-get install chromium` brings one"
    );
    assert!(
        std::env::var_os("FLORA_BENCH_REQUIRE_ALL").is_none_or(|v| v != "1"),
        "{message}"
    );
    let _ = writeln!(std::io::stderr(), "{message}");
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// What a visit leaves behind.
struct Seen {
    /// The document after its scripts ran.
    dom: String,
    /// Messages of the console, and errors.
    console: Vec<String>,
    /// Addresses that were asked for and are no files.
    requests: Vec<String>,
}

fn visit(browser: &Path, directory: &Path, page: &Path) -> Seen {
    let (dom, log, net) = (
        directory.join("dom.html"),
        directory.join("log.txt"),
        directory.join("net.json"),
    );
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--disable-default-apps",
            "--disable-extensions",
            "--disable-dev-shm-usage",
        ])
        // No name has an address, so that neither a page nor the browser reaches anyone.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        // The checker may look into the frame only if files are one origin.
        .args([
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--v=0",
        ])
        .args([
            "--virtual-time-budget=10000",
            "--window-size=1300,2000",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            directory.join("profile").display()
        ))
        .arg(format!("--log-net-log={}", net.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(File::create(&dom).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("start {}: {error}", browser.display()));
    let started = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > TIME_LIMIT => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!(
                    "the browser took longer than {TIME_LIMIT:?}:\n{}",
                    fs::read_to_string(&log).unwrap()
                );
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let log = fs::read_to_string(&log).unwrap();
    assert!(status.success(), "the browser ended with {status}:\n{log}");
    Seen {
        dom: fs::read_to_string(&dom).unwrap(),
        console: log
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .map(str::to_owned)
            .collect(),
        requests: requests(&fs::read_to_string(&net).unwrap()),
    }
}

/// Every address outside this machine that the page asked for, from the browser's own record of
/// its network. What the browser asks for by itself has no page as its initiator.
fn requests(net_log: &str) -> Vec<String> {
    let log: Value = serde_json::from_str(net_log).expect("the browser's network log is JSON");
    let events = log["events"]
        .as_array()
        .expect("the network log has events");
    let by_page = |event: &&Value| {
        event["params"]["initiator"]
            .as_str()
            .is_some_and(|who| who != "not an origin")
    };
    let urls = events
        .iter()
        .filter(by_page)
        .filter_map(|event| event["params"]["url"].as_str());
    let outside = |url: &&str| {
        ["http:", "https:", "ws:", "wss:", "ftp:"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
    };
    urls.filter(outside).map(str::to_owned).collect()
}

fn result(dom: &str) -> Value {
    let (_, rest) = dom
        .split_once("<pre id=\"result\">")
        .unwrap_or_else(|| panic!("no result in:\n{dom}"));
    let text = rest.split("</pre>").next().unwrap();
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
