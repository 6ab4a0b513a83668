// The application under load with OpenTelemetry's SDK, as its getting-started page has it: otelhttp,
// spans in batches, metrics of requests and of the runtime, both sent by OTLP over HTTP.
//
// All settings are those of the specification, from the environment: OTEL_SERVICE_NAME,
// OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_METRIC_EXPORT_INTERVAL and
// the rest. Without any, every request is sampled and goes to localhost:4318.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"flora-bench.invalid/target-app/app"
)

// How long what has not been sent yet may hold up the end of the program.
const flush = 2 * time.Second

func main() {
	target := app.New(app.ParseConfig("target-app-go-otel",
		"go.opentelemetry.io/otel/sdk",
		"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"))
	shutdown, err := setUp(context.Background())
	if err != nil {
		fmt.Fprintf(os.Stderr, "failed to set up OpenTelemetry: %v\n", err)
		os.Exit(2)
	}
	mux := http.NewServeMux()
	target.Register(mux)
	code := target.Serve(otelhttp.NewHandler(mux, "target-app"))
	ctx, cancel := context.WithTimeout(context.Background(), flush)
	defer cancel()
	if err := shutdown(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "OpenTelemetry: %v\n", err)
	}
	os.Exit(code)
}

// setUp installs the providers, and gives what sends the rest and ends them.
func setUp(ctx context.Context) (shutdown func(context.Context) error, err error) {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"} {
		if value := os.Getenv(variable); value != "" && value != "http/protobuf" {
			return nil, fmt.Errorf("%s is %q, and only http/protobuf is built in", variable, value)
		}
	}
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	shutdown = func(context.Context) error { return nil }
	traces, err := exported("OTEL_TRACES_EXPORTER")
	if err != nil {
		return nil, err
	}
	if traces {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, err
		}
		provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
		otel.SetTracerProvider(provider)
		shutdown = provider.Shutdown
	}
	metrics, err := exported("OTEL_METRICS_EXPORTER")
	if err != nil || !metrics {
		return shutdown, err
	}
	exporter, err := otlpmetrichttp.New(ctx)
	if err != nil {
		return nil, err
	}
	provider := metric.NewMeterProvider(metric.WithReader(metric.NewPeriodicReader(exporter)))
	otel.SetMeterProvider(provider)
	tracesShutdown := shutdown
	shutdown = func(ctx context.Context) error {
		return errors.Join(tracesShutdown(ctx), provider.Shutdown(ctx))
	}
	return shutdown, runtime.Start()
}

// exported says whether a signal is to be sent; "none" is the only other choice built in.
func exported(variable string) (bool, error) {
	switch value := os.Getenv(variable); value {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s is %q, and only otlp and none are built in", variable, value)
	}
}
