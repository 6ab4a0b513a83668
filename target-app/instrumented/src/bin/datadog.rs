//! The application under load with Datadog's library, which implements OpenTelemetry's interface and
//! sends to a trace-agent.
//!
//! All settings are Datadog's own, from the environment: `DD_SERVICE`, `DD_TRACE_AGENT_URL`,
//! `DD_TRACE_SAMPLE_RATE` and the rest.

use std::process::ExitCode;
use std::time::Duration;

use target_app_instrumented::{Spans, version};

/// How long what has not been sent yet may hold up the end of the program.
const FLUSH: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let version = version(&["datadog-opentelemetry"]);
    let args = target_app::args("target-app-datadog", version);
    // Installs itself as the provider, and its propagators.
    let provider = datadog_opentelemetry::tracing().init();
    let code = target_app::run(&args, Spans::new());
    if let Err(error) = provider.shutdown_with_timeout(FLUSH) {
        eprintln!("Datadog: {error}");
    }
    code
}
