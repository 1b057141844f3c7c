// Package pgproxy is a proxy in front of PostgreSQL that fails on purpose. It
// knows the protocol's frames, so that a test can cut the connection before or
// after any single message of the client, and so visit every point at which a
// crash can hit an operation instead of guessing some:
//
//	p.Arm(0)
//	operation()
//	for k := range p.Messages() {
//		p.CutBefore(k + 1) // likewise CutAfter
//		err := operation()
//		// the error is one of those promised; nothing is half done
//	}
//
// It also adds latency and swallows traffic. It speaks no TLS: a client asking
// for it is told that there is none.
package pgproxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Proxy is a running proxy. Its methods may be called from any goroutine.
type Proxy struct {
	network, addr string // of the server
	listener      net.Listener
	running       sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a setting changes
	closed  bool
	links   map[*link]bool
	armed   bool
	seen    []byte // types of the messages since Arm
	before  int    // cut before this message, 0 for never
	after   int    // cut after this message, 0 for never
	latency time.Duration
	hole    bool
}

// Start listens on a free port of 127.0.0.1 and forwards to the server at addr,
// in the terms of net.Dial: ("tcp", "127.0.0.1:5432") or
// ("unix", "/run/postgresql/.s.PGSQL.5432").
func Start(network, addr string) (*Proxy, error) {
	if network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("pgproxy: network %q is neither tcp nor unix", network)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("pgproxy: %w", err)
	}
	p := &Proxy{
		network: network, addr: addr, listener: listener,
		changed: make(chan struct{}), links: map[*link]bool{},
	}
	p.running.Go(p.accept)
	return p, nil
}

// StartFor starts a proxy in front of the server that a URL names, and returns
// it with the URL of the same database through the proxy.
func StartFor(databaseURL string) (p *Proxy, through string, err error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, "", errors.New("pgproxy: not a database URL") // not err: it repeats the password
	}
	query := u.Query()
	host, port := first(query.Get("host"), u.Hostname(), "/run/postgresql"), first(query.Get("port"), u.Port(), "5432")
	network, addr := "tcp", net.JoinHostPort(host, port)
	if host[0] == '/' {
		network, addr = "unix", host+"/.s.PGSQL."+port
	}
	if p, err = Start(network, addr); err != nil {
		return nil, "", err
	}
	through, err = p.URL(databaseURL)
	if err != nil {
		return nil, "", errors.Join(err, p.Close())
	}
	return p, through, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// Addr is the address the proxy listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns a database URL with the proxy in the place of its server.
func (p *Proxy) URL(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("pgproxy: not a database URL")
	}
	u.Host = p.Addr()
	query := u.Query()
	query.Del("host")
	query.Del("port")
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	return u.String(), nil
}

// Arm starts counting at zero and forgets cuts. Messages of the start-up and
// of authentication are never counted, nor is Terminate: the first is the same
// for every operation, the second ends none. A connection that is open goes on.
func (p *Proxy) Arm() { p.set(func() { p.armed, p.seen, p.before, p.after = true, nil, 0, 0 }) }

// CutBefore arms the proxy and cuts the connection that sends message k, from 1
// on, before the server gets it.
//
// With either cut the server works off what it has got and finds the end of the
// stream behind it; the client loses its connection when the server's session
// is over (or after 5 seconds), so that what a test then reads is final.
func (p *Proxy) CutBefore(k int) {
	p.set(func() { p.armed, p.seen, p.before, p.after = true, nil, k, 0 })
}

// CutAfter arms the proxy and cuts the connection that sends message k, from 1
// on, after the server has got it and before the client sees its answer.
func (p *Proxy) CutAfter(k int) {
	p.set(func() { p.armed, p.seen, p.before, p.after = true, nil, 0, k })
}

// Messages is the number of messages since Arm, CutBefore or CutAfter. Once it
// has reached k, the cut has happened.
func (p *Proxy) Messages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.seen)
}

// Kinds is the types of these messages, a byte each as the protocol has them:
// 'P' for Parse, 'S' for Sync, and so on.
func (p *Proxy) Kinds() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.seen)
}

// Latency delays every message of the client and every answer by d. Zero is
// none.
func (p *Proxy) Latency(d time.Duration) { p.set(func() { p.latency = d }) }

// Blackhole, while on, holds all traffic back and lets connections stand, as a
// firewall does that drops packets. Switched off, what was held back goes on.
func (p *Proxy) Blackhole(on bool) { p.set(func() { p.hole = on }) }

// Reset forgets counts, cuts, latency and the black hole. Open connections stay.
func (p *Proxy) Reset() {
	p.set(func() {
		p.armed, p.seen, p.before, p.after, p.latency, p.hole = false, nil, 0, 0, 0, false
	})
}

// CutAll cuts every open connection.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Close cuts every connection and waits until the proxy's goroutines have
// ended.
func (p *Proxy) Close() error {
	p.set(func() { p.closed = true })
	err := p.listener.Close()
	p.CutAll()
	p.running.Wait()
	if err != nil {
		return fmt.Errorf("pgproxy: %w", err)
	}
	return nil
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve runs one connection to its end.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	conn, err := net.Dial(p.network, p.addr)
	if err != nil {
		return // the server is not there: the client sees its connection closed
	}
	defer conn.Close()
	server := conn.(halfCloser) // as connections of tcp and unix are
	l := &link{proxy: p, client: client, server: server, drained: make(chan struct{}), dead: make(chan struct{})}
	if p.add(l) {
		l.run()
		p.remove(l)
	}
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = true
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// verdict is what becomes of one message of the client.
type verdict int

const (
	forward verdict = iota
	cutBefore
	cutAfter
)

// count counts a message and decides on it.
func (p *Proxy) count(kind byte) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed {
		return forward
	}
	p.seen = append(p.seen, kind)
	switch len(p.seen) {
	case p.before:
		return cutBefore
	case p.after:
		return cutAfter
	}
	return forward
}

// wait waits for the latency, if delayed, and for the end of a black hole; false
// if dead was closed meanwhile.
func (p *Proxy) wait(dead <-chan struct{}, delayed bool) bool {
	p.mu.Lock()
	latency := p.latency
	p.mu.Unlock()
	if delayed && latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-dead:
			return false
		}
	}
	for {
		p.mu.Lock()
		hole, changed := p.hole, p.changed
		p.mu.Unlock()
		if !hole {
			return true
		}
		select {
		case <-changed:
		case <-dead:
			return false
		}
	}
}
