package app

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
)

// The most objects in answers that clients haven't taken yet: some 240 MB of JSON.
const maxUnsentObjects = 1_000_000

// App is what all connections share.
type App struct {
	config   Config
	requests requests
	// Requests for objects so far; the n-th always gets the same objects.
	drawn uint64
	// Objects in answers that clients haven't taken yet.
	unsent int64
	// Connections that are open.
	open sync.Map
}

// New gives an application that hasn't answered anything yet.
func New(config Config) *App { return &App{config: config} }

// Mux is what routes are registered at: net/http's, or a vendor's in its place.
type Mux interface {
	http.Handler
	Handle(pattern string, handler http.Handler)
}

// Register adds the application's routes.
func (a *App) Register(mux Mux) {
	mux.Handle("/objects", a.route("/objects", a.objects))
	mux.Handle("/healthz", a.route("/healthz", func(*http.Request) answer { return text(http.StatusOK, "ok") }))
	mux.Handle("/metrics", a.route("/metrics", func(*http.Request) answer {
		return answer{status: http.StatusOK, contentType: metricsType, body: a.requests.render()}
	}))
	mux.Handle("/", http.HandlerFunc(notFound))
}

// exact answers what a mux would redirect or decode to another path, and leaves the rest to it.
func exact(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawPath != "" || r.URL.Path == "" || path.Clean(r.URL.Path) != r.URL.Path {
			notFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer is what a request gets.
type answer struct {
	status      int
	contentType string
	body        []byte
	gzip        bool
	digest      string
	// Objects that wait in it for the client to take them.
	objects int64
}

func text(status int, body string) answer {
	return answer{status: status, contentType: "text/plain; charset=utf-8", body: []byte(body)}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	send(w, r, "other", text(http.StatusNotFound, "no such path; there are /objects, /healthz and /metrics\n"))
}

func (a *App) route(route string, handle func(*http.Request) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			send(w, r, route, text(http.StatusMethodNotAllowed, "only GET and HEAD are allowed here\n"))
			return
		}
		answer := handle(r)
		defer atomic.AddInt64(&a.unsent, -answer.objects)
		if route == "/objects" && answer.status == http.StatusOK {
			w.Header().Set("Vary", "accept-encoding")
		}
		send(w, r, route, answer)
	})
}

func (a *App) objects(r *http.Request) answer {
	overrides, err := parseOverrides(r.URL.RawQuery)
	if err != nil {
		return text(http.StatusBadRequest, err.Error()+"\n")
	}
	objects, work := a.config.Objects, a.config.Work
	if overrides.objects != nil {
		objects = *overrides.objects
	}
	if overrides.work != nil {
		work = *overrides.work
	}
	if atomic.AddInt64(&a.unsent, int64(objects)) > maxUnsentObjects {
		atomic.AddInt64(&a.unsent, -int64(objects))
		return text(http.StatusServiceUnavailable, "too many objects wait for clients to read them; try again later\n")
	}
	forObjects, forWork := ofRequest(a.config.Seed, atomic.AddUint64(&a.drawn, 1))
	answer := answer{status: http.StatusOK, contentType: "application/json", objects: int64(objects)}
	answer.digest = doWork(work, &forWork)
	answer.body = objectsJSON(objects, &forObjects)
	if wantsGzip(r.Header.Values("Accept-Encoding")) {
		answer.gzip = true
		answer.body = compress(answer.body)
	}
	return answer
}

// send writes an answer. What it is counted as is noted down first: the last write is net/http's.
func send(w http.ResponseWriter, r *http.Request, route string, answer answer) {
	header := w.Header()
	header.Set("Content-Type", answer.contentType)
	header.Set("Content-Length", strconv.Itoa(len(answer.body)))
	if answer.gzip {
		header.Set("Content-Encoding", "gzip")
	}
	if answer.digest != "" {
		header.Set("X-Work-Digest", answer.digest)
	}
	if answer.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	answered(r, labelsOf(r.Method, route, answer.status))
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		// An error is a client that has gone; the connection has noticed.
		_, _ = w.Write(answer.body)
	}
}

// Compressors are large, and meant to be used again.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func compress(plain []byte) []byte {
	var packed bytes.Buffer
	writer := compressors.Get().(*gzip.Writer)
	defer compressors.Put(writer)
	writer.Reset(&packed)
	_, err := writer.Write(plain)
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("memory takes every byte: %v", err))
	}
	return packed.Bytes()
}
