// Package app is the application under load, as ../../README.md has it, on net/http.
//
// Its programs differ in their instrumentation only: each registers the routes at a mux, wraps it as
// its vendor's documentation says, and calls Serve.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// How long a client may take for the head of a request, and stay idle.
	patience = 120 * time.Second
	// How long requests in flight may take to finish after a signal to stop.
	drain = 10 * time.Second
	// The largest request head, in bytes, a little more included by net/http.
	maxHeadBytes = 64 * 1024
)

// Serve serves handler until SIGTERM or SIGINT, lets requests in flight finish, and gives the
// program's exit code.
func (a *App) Serve(handler http.Handler) int {
	// Before anyone is told that the server listens, since a signal may come right after.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	tcp, err := net.ListenTCP("tcp", a.config.Listen)
	if err != nil {
		fmt.Fprintf(os.Stderr, "failed to listen on %s: %v; choose another address with --listen, or stop the program that has this one\n", a.config.Listen, err)
		return 1
	}
	server := &http.Server{
		Handler:           exact(handler),
		ReadHeaderTimeout: patience,
		IdleTimeout:       patience,
		MaxHeaderBytes:    maxHeadBytes,
		ConnContext:       withConnection,
		ConnState:         a.connState,
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", tcp.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener{tcp}) }()
	select {
	case err := <-failed:
		fmt.Fprintf(os.Stderr, "failed to serve: %v\n", err)
		return 1
	case signal := <-signals:
		fmt.Fprintf(os.Stderr, "%s: draining connections\n", signal)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	// Nobody new can come once the listener is closed, so what is unused then can be closed as well.
	tcp.Close()
	a.closeUnused()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(os.Stderr, "gave up on requests that took longer than %s to finish\n", drain)
		server.Close()
	}
	return 0
}
