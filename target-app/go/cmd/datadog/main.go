// The application under load with Datadog's tracer, as its documentation has it: the traced mux in
// the place of net/http's.
//
// All settings are Datadog's own, from the environment: DD_SERVICE, DD_TRACE_AGENT_URL,
// DD_TRACE_SAMPLE_RATE, DD_RUNTIME_METRICS_ENABLED and the rest. The profiler has to be started by
// the program; this one does if DD_PROFILING_ENABLED asks for it.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	httptrace "github.com/DataDog/dd-trace-go/contrib/net/http/v2"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/DataDog/dd-trace-go/v2/profiler"

	"flora-bench.invalid/target-app/app"
)

// How long what has not been sent yet may hold up the end of the program.
const flush = 2 * time.Second

func main() {
	target := app.New(app.ParseConfig("target-app-go-datadog", "github.com/DataDog/dd-trace-go/v2"))
	if err := tracer.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "failed to start Datadog's tracer: %v\n", err)
		os.Exit(2)
	}
	if value := os.Getenv("DD_PROFILING_ENABLED"); value == "auto" || isTrue(value) {
		if err := profiler.Start(); err != nil {
			fmt.Fprintf(os.Stderr, "failed to start Datadog's profiler: %v\n", err)
			os.Exit(2)
		}
	}
	mux := httptrace.NewServeMux()
	target.Register(mux)
	code := target.Serve(mux)
	stopped := make(chan struct{})
	go func() {
		profiler.Stop()
		tracer.Stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(flush):
		fmt.Fprintln(os.Stderr, "Datadog's tracer did not stop in time")
	}
	os.Exit(code)
}

func isTrue(text string) bool {
	value, err := strconv.ParseBool(text)
	return err == nil && value
}
