//! The application under load with OpenTelemetry's SDK: spans in batches, by OTLP over HTTP.
//!
//! All settings are those of the specification, from the environment: `OTEL_SERVICE_NAME`,
//! `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and the rest.

use std::process::ExitCode;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use target_app_instrumented::{Spans, version};

/// How long what has not been sent yet may hold up the end of the program.
const FLUSH: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let version = version(&["opentelemetry_sdk", "opentelemetry-otlp"]);
    let args = target_app::args("target-app-opentelemetry", version);
    let exporter = match SpanExporter::builder().with_http().build() {
        Ok(exporter) => exporter,
        Err(error) => {
            eprintln!("failed to set up OpenTelemetry: {error}");
            return ExitCode::from(2);
        }
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(provider.clone());
    let code = target_app::run(&args, Spans::new());
    if let Err(error) = provider.shutdown_with_timeout(FLUSH) {
        eprintln!("OpenTelemetry: {error}");
    }
    code
}
