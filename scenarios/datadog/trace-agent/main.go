// Datadog's trace-agent library in a main of our own.
//
// The trace-agent itself is a command of Datadog's main repository, which cannot be fetched as a Go
// module. What it does with traces is this library: it receives from tracers, samples, computes
// statistics and sends. What the command puts around it (tags of containers, remote configuration,
// statsd, a watchdog) is missing here, so this agent costs a little less than Datadog's own.
//
// Settings are those of the trace-agent, from the environment: DD_API_KEY, DD_APM_DD_URL,
// DD_APM_RECEIVER_PORT, DD_APM_TARGET_TPS, DD_HOSTNAME, DD_ENV. Everything is sent to DD_APM_DD_URL
// and nowhere else.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"

	zstd "github.com/DataDog/datadog-agent/comp/trace/compression/impl-zstd"
	"github.com/DataDog/datadog-agent/pkg/trace/agent"
	"github.com/DataDog/datadog-agent/pkg/trace/config"
	"github.com/DataDog/datadog-agent/pkg/trace/log"
	"github.com/DataDog/datadog-agent/pkg/trace/telemetry"
	"github.com/DataDog/datadog-go/v5/statsd"
)

// The module that is measured.
const library = "github.com/DataDog/datadog-agent/pkg/trace"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Printf("%s %s in our own main (%s)\n", library, version(), runtime.Version())
		return
	}
	if len(os.Args) > 1 {
		refuse(fmt.Errorf("unknown argument %q: everything is set by the environment", os.Args[1]))
	}
	settings, err := settings()
	if err != nil {
		refuse(err)
	}
	log.SetLogger(logger{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	agent.NewAgent(ctx, settings, telemetry.NewNoopCollector(), &statsd.NoOpClient{}, zstd.NewComponent()).Run()
}

// settings are the library's, with what the trace-agent's own configuration would fill in.
func settings() (*config.AgentConfig, error) {
	c := config.New()
	c.AgentVersion = version()
	// The trace-agent's defaults for apm_config.decoder_timeout and max_connections. Left at 0 they
	// make the receiver throw away what it can't decode at once, and answer 200.
	c.DecoderTimeout = 1000
	c.MaxConnections = 1000
	c.Hostname = environment("DD_HOSTNAME", "flora-bench")
	c.DefaultEnv = environment("DD_ENV", c.DefaultEnv)
	c.ReceiverHost = "127.0.0.1"

	url := os.Getenv("DD_APM_DD_URL")
	if url == "" {
		return nil, fmt.Errorf("DD_APM_DD_URL is not set: it says where traces are sent, such as http://127.0.0.1:8080")
	}
	// Keys must look like one; this one opens nothing.
	key := environment("DD_API_KEY", "00000000000000000000000000000000")
	here := func() []*config.Endpoint { return []*config.Endpoint{{Host: url, APIKey: key}} }
	c.Endpoints = here()
	c.TelemetryConfig.Endpoints = here()
	c.EVPProxy.DDURL, c.EVPProxy.APIKey = url, key
	c.OpenLineageProxy.DDURL, c.OpenLineageProxy.APIKey = url, key
	c.ProfilingProxy.DDURL = url + "/api/v2/profile"
	c.DebuggerProxy.DDURL, c.DebuggerProxy.APIKey = url, key
	c.DebuggerIntakeProxy.DDURL, c.DebuggerIntakeProxy.APIKey = url, key
	c.SymDBProxy.DDURL, c.SymDBProxy.APIKey = url, key

	var err error
	if c.ReceiverPort, err = strconv.Atoi(environment("DD_APM_RECEIVER_PORT", "8126")); err != nil {
		return nil, fmt.Errorf("DD_APM_RECEIVER_PORT: %w", err)
	}
	if text, ok := os.LookupEnv("DD_APM_TARGET_TPS"); ok {
		if c.TargetTPS, err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("DD_APM_TARGET_TPS: %w", err)
		}
	}
	return c, nil
}

func environment(variable, otherwise string) string {
	if text, ok := os.LookupEnv(variable); ok {
		return text
	}
	return otherwise
}

func refuse(err error) {
	fmt.Fprintf(os.Stderr, "trace-agent: %v\n", err)
	os.Exit(2)
}

// version is the library's.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			if dependency.Path == library {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

// logger writes what went wrong to stderr. Without one the library says nothing at all.
type logger struct{}

func (logger) Trace(...interface{})          {}
func (logger) Tracef(string, ...interface{}) {}
func (logger) Debug(...interface{})          {}
func (logger) Debugf(string, ...interface{}) {}
func (logger) Info(...interface{})           {}
func (logger) Infof(string, ...interface{})  {}
func (logger) Flush()                        {}

func (logger) Warn(v ...interface{}) error     { return say("warning", fmt.Sprint(v...)) }
func (logger) Error(v ...interface{}) error    { return say("error", fmt.Sprint(v...)) }
func (logger) Critical(v ...interface{}) error { return say("critical", fmt.Sprint(v...)) }

func (logger) Warnf(format string, v ...interface{}) error {
	return say("warning", fmt.Sprintf(format, v...))
}

func (logger) Errorf(format string, v ...interface{}) error {
	return say("error", fmt.Sprintf(format, v...))
}

func (logger) Criticalf(format string, v ...interface{}) error {
	return say("critical", fmt.Sprintf(format, v...))
}

func say(level, text string) error {
	_, err := fmt.Fprintf(os.Stderr, "%s: %s\n", level, text)
	return err
}
