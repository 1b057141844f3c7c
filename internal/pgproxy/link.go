package pgproxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Frames of the start-up phase carry a code instead of a type:
// https://www.postgresql.org/docs/current/protocol-message-formats.html
const (
	codeSSL    = 80877103
	codeGSSENC = 80877104
)

// Types of the messages that the proxy treats differently from others.
const (
	kindTerminate     = 'X' // from the client
	kindReadyForQuery = 'Z' // from the server
)

const (
	maxStartUp = 10_000  // bytes; the server's own limit
	maxMessage = 1 << 30 // bytes; the server's own limit
)

// settleTimeout bounds the wait for the server to work off what it has got: a
// statement may wait for a lock that only the cut frees.
const settleTimeout = 5 * time.Second

var errProtocol = errors.New("pgproxy: not the PostgreSQL protocol")

// halfCloser is a connection whose writing side can be closed alone.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// link is one connection: client, proxy, server.
type link struct {
	proxy   *Proxy
	client  net.Conn
	server  halfCloser
	ready   atomic.Bool   // authentication is over
	mute    atomic.Bool   // answers are no longer passed on
	drained chan struct{} // the server has closed its side
	dead    chan struct{}
	once    sync.Once
}

// run passes traffic on until either side closes or a cut is due.
func (l *link) run() {
	defer l.cut()
	if l.startUp() != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(l.fromServer)
	l.fromClient()
	l.cut()
	answers.Wait()
}

// cut ends the connection on both sides.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.dead)
		// Errors do not matter: the sides are meant to be closed.
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// startUp passes on the first frame, which has no type, and declines
// encryption. A cancel request travels like a start-up; the server then closes.
func (l *link) startUp() error {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(l.client, head); err != nil {
			return err
		}
		size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if size < 8 || size > maxStartUp {
			return errProtocol
		}
		frame := append(head, make([]byte, size-8)...)
		if _, err := io.ReadFull(l.client, frame[8:]); err != nil {
			return err
		}
		if code != codeSSL && code != codeGSSENC {
			_, err := l.server.Write(frame)
			return err
		}
		if _, err := l.client.Write([]byte{'N'}); err != nil {
			return err
		}
	}
}

// fromClient passes on the client's messages one by one, so that a cut falls
// between two of them even if they came in one packet.
func (l *link) fromClient() {
	in := bufio.NewReader(l.client)
	for {
		kind, frame, err := l.next(in)
		if err != nil {
			return
		}
		what := forward
		if l.ready.Load() && kind != kindTerminate {
			what = l.proxy.count(kind)
		}
		if what != forward {
			l.mute.Store(true)
		}
		if what != cutBefore {
			if _, err := l.server.Write(frame); err != nil {
				return
			}
		}
		if what != forward {
			l.settle()
			return
		}
	}
}

// settle lets the server work off what it has got. Closing our side only half
// makes it see the end of the stream behind the last message; a whole close
// with answers unread would be a reset, which may overtake that message. When
// the server has closed too its session is over, locks and all, and what the
// test then reads is final.
func (l *link) settle() {
	if l.server.CloseWrite() != nil {
		return // the server has gone already
	}
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	select {
	case <-l.drained:
	case <-l.dead:
	case <-timer.C:
	}
}

// fromServer passes on the server's messages.
func (l *link) fromServer() {
	defer close(l.drained)
	in, out := bufio.NewReader(l.server), bufio.NewWriter(l.client)
	for {
		kind, frame, err := l.next(in)
		if err != nil {
			if !l.mute.Load() {
				l.cut() // the server has closed: the client shall see it
			}
			return
		}
		if kind == kindReadyForQuery {
			l.ready.Store(true) // before the client can send anything more
		}
		if l.mute.Load() {
			continue
		}
		// Many small messages make one packet, as the server sent them.
		_, err = out.Write(frame)
		if err == nil && in.Buffered() == 0 {
			err = out.Flush()
		}
		if err != nil {
			l.cut()
			return
		}
	}
}

// next reads a message, and waits as the proxy's settings want before it is
// given out. Messages that came together are delayed together.
func (l *link) next(in *bufio.Reader) (kind byte, frame []byte, err error) {
	together := in.Buffered() > 0
	if kind, frame, err = readFrame(in); err != nil {
		return 0, nil, err
	}
	if !l.mute.Load() && !l.proxy.wait(l.dead, !together) {
		return 0, nil, net.ErrClosed
	}
	return kind, frame, nil
}

// readFrame reads a message: a type, the length of itself and the rest, and
// the rest.
func readFrame(in *bufio.Reader) (kind byte, frame []byte, err error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(in, head); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size < 4 || size > maxMessage {
		return 0, nil, errProtocol
	}
	frame = append(head, make([]byte, size-4)...)
	_, err = io.ReadFull(in, frame[5:])
	return head[0], frame, err
}
