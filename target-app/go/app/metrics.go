package app

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// The content type of the text format, version 0.0.4.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// Everything that can be a label. Of methods and routes the last stands for all others, so that
// nobody can make them grow.
var (
	methods  = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "other"}
	routes   = [...]string{"/objects", "/healthz", "/metrics", "other"}
	statuses = [...]int{200, 400, 404, 405, 503}
)

// labels are those of one answer, each as its place in the lists above.
type labels struct{ method, route, status int }

func labelsOf(method, route string, status int) (l labels) {
	for l.method < len(methods)-1 && methods[l.method] != method {
		l.method++
	}
	for l.route < len(routes)-1 && routes[l.route] != route {
		l.route++
	}
	for statuses[l.status] != status {
		l.status++
	}
	return l
}

// requests is http_requests_total: a counter for each combination of labels.
type requests struct {
	counts [len(methods)][len(routes)][len(statuses)]uint64
}

func (r *requests) count(l labels) {
	atomic.AddUint64(&r.counts[l.method][l.route][l.status], 1)
}

// render gives everything that /metrics answers.
func (r *requests) render() []byte {
	var text bytes.Buffer
	text.WriteString("# HELP http_requests_total Requests whose answer was handed to the kernel to the last byte.\n" +
		"# TYPE http_requests_total counter\n")
	for m, method := range methods {
		for p, route := range routes {
			for s, status := range statuses {
				count := atomic.LoadUint64(&r.counts[m][p][s])
				// What is sure to come is shown from the start; of the rest, what has come.
				sure := method == http.MethodGet && route != "other" && status == http.StatusOK
				if count > 0 || sure {
					fmt.Fprintf(&text, "http_requests_total{method=%q,route=%q,status=\"%d\"} %d\n", method, route, status, count)
				}
			}
		}
	}
	for _, metric := range processMetrics() {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n%s %s\n", metric.name, metric.help, metric.name, metric.kind,
			metric.name, strconv.FormatFloat(metric.value, 'f', -1, 64))
	}
	return text.Bytes()
}

type metric struct {
	name, help, kind string
	value            float64
}

// processMetrics describes the process as Linux accounts for it.
func processMetrics() []metric {
	status, _ := os.ReadFile("/proc/self/status")
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	var limit syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	fds, _ := os.ReadDir("/proc/self/fd")
	seconds := func(time syscall.Timeval) float64 { return float64(time.Sec) + float64(time.Usec)/1e6 }
	return []metric{
		{"process_cpu_seconds_total", "User and system CPU time spent, in seconds.", "counter", seconds(usage.Utime) + seconds(usage.Stime)},
		{"process_resident_memory_bytes", "Resident memory size, in bytes.", "gauge", statusField(status, "VmRSS:") * 1024},
		{"process_virtual_memory_bytes", "Virtual memory size, in bytes.", "gauge", statusField(status, "VmSize:") * 1024},
		{"process_start_time_seconds", "Start of the process, in seconds since the Unix epoch.", "gauge", startTime},
		// Without the one that counting them opens.
		{"process_open_fds", "Open file descriptors.", "gauge", float64(len(fds) - 1)},
		{"process_max_fds", "Most file descriptors the process may have open.", "gauge", float64(limit.Cur)},
		{"process_threads", "Threads of the process.", "gauge", statusField(status, "Threads:")},
	}
}

// statusField is a number in /proc/self/status.
func statusField(status []byte, field string) float64 {
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == field {
			value, _ := strconv.ParseFloat(words[1], 64)
			return value
		}
	}
	return 0
}

// Read once: it cannot change, but a corrected wall clock would make it seem to.
var startTime = func() float64 {
	// Ticks per second in /proc/*/stat; Linux has promised 100 to user space.
	const userHz = 100
	system, _ := os.ReadFile("/proc/stat")
	own, _ := os.ReadFile("/proc/self/stat")
	boot := 0.0
	for _, line := range strings.Split(string(system), "\n") {
		if text := strings.TrimPrefix(line, "btime "); text != line {
			boot, _ = strconv.ParseFloat(text, 64)
		}
	}
	// The second field is the program's name in parentheses, and may hold spaces and parentheses.
	after := string(own[strings.LastIndexByte(string(own), ')')+1:])
	fields := strings.Fields(after)
	if len(fields) < 20 {
		return boot
	}
	ticks, _ := strconv.ParseFloat(fields[19], 64)
	return boot + ticks/userHz
}()
