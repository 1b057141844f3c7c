package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// tap records what connections send, while it is told to.
type tap struct {
	mu   sync.Mutex
	on   bool
	sent []byte
}

func (t *tap) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.sent = true, nil
}

func (t *tap) stop() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on = false
	return t.sent
}

// dial wraps the connections of a dialler.
func (t *tap) dial(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &tapped{c, t}, nil
	}
}

type tapped struct {
	net.Conn
	tap *tap
}

func (c *tapped) Write(p []byte) (int, error) {
	c.tap.mu.Lock()
	if c.tap.on {
		c.tap.sent = append(c.tap.sent, p...)
	}
	c.tap.mu.Unlock()
	return c.Conn.Write(p)
}

// exchange is what is sent before an answer is waited for.
type exchange []sentStatement

type sentStatement struct {
	sql             string
	types           []uint32
	values          [][]byte
	formats, result []int16
}

// exchanges reads statements from what was sent.
func exchanges(sent []byte) ([]exchange, error) {
	backend := pgproto3.NewBackend(bytes.NewReader(sent), io.Discard)
	var list []exchange
	var now exchange
	for {
		m, err := backend.Receive()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if len(now) > 0 {
				return nil, errors.New("a search ended in the middle of an exchange")
			}
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			now = append(now, sentStatement{sql: m.Query, types: append([]uint32(nil), m.ParameterOIDs...)})
		case *pgproto3.Bind:
			s := &now[len(now)-1]
			for _, p := range m.Parameters {
				s.values = append(s.values, bytes.Clone(p))
			}
			s.formats = append([]int16(nil), m.ParameterFormatCodes...)
			s.result = append([]int16(nil), m.ResultFormatCodes...)
		case *pgproto3.Describe, *pgproto3.Execute:
		case *pgproto3.Query:
			if m.String != "-- ping" { // the pool looks whether a connection is alive; it does so again when the statements are sent again
				return nil, fmt.Errorf("a search sent %q", m.String)
			}
		case *pgproto3.Sync:
			list, now = append(list, now), nil
		default:
			return nil, fmt.Errorf("a search sent a %T", m)
		}
	}
}

// replay sends the statements again on a connection of the store's pool, the one that a search would get, and reads all rows.
func (o *opened) replay(ctx context.Context, trips []exchange) error {
	acquired, err := o.pool.Pgx().Acquire(ctx)
	if err != nil {
		return err
	}
	defer acquired.Release()
	conn := acquired.Conn().PgConn()
	for _, list := range trips {
		var batch pgconn.Batch
		for _, s := range list {
			batch.ExecParams(s.sql, s.values, s.types, s.formats, s.result)
		}
		if _, err := conn.ExecBatch(ctx, &batch).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}
