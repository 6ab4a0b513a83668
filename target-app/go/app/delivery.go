package app

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// connection counts an answer when it has been handed to the kernel, and not before.
//
// A handler returns before its answer has left: the end of it waits in net/http's buffer. So the
// handler leaves the labels of what it answered here, and they are counted when net/http says that
// it is done with the request, after its last write. If a write failed, the client is gone and there
// is nothing to count. One request at a time is under way on a connection, in pipelines too.
type connection struct {
	net.Conn
	// What is answered and not counted yet. Only the connection's own goroutine touches it.
	pending *labels
	failed  bool
	// Set once the client has sent anything; read when the server stops.
	used atomic.Bool
}

func (c *connection) Read(bytes []byte) (int, error) {
	n, err := c.Conn.Read(bytes)
	if n > 0 && !c.used.Load() {
		c.used.Store(true)
	}
	return n, err
}

func (c *connection) Write(bytes []byte) (int, error) {
	n, err := c.Conn.Write(bytes)
	if err != nil {
		c.failed = true
	}
	return n, err
}

// listener hands out connections that count.
type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn}, nil
}

type connectionKey struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// answered notes down what the request on this connection is answered with.
func answered(r *http.Request, labels labels) {
	if conn, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		conn.pending = &labels
	}
}

// connState counts what has been answered; net/http calls it after the last write of each answer.
func (a *App) connState(conn net.Conn, state http.ConnState) {
	c := conn.(*connection)
	switch state {
	case http.StateNew:
		a.open.Store(c, nil)
	case http.StateIdle, http.StateClosed, http.StateHijacked:
		if c.pending != nil && !c.failed {
			a.requests.count(*c.pending)
		}
		c.pending = nil
		if state != http.StateIdle {
			a.open.Delete(c)
		}
	}
}

// closeUnused closes connections that nothing was ever sent on. http.Server.Shutdown waits five
// seconds for their first request.
func (a *App) closeUnused() {
	a.open.Range(func(key, _ any) bool {
		if c := key.(*connection); !c.used.Load() {
			c.Close()
		}
		return true
	})
}
