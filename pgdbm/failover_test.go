package pgdbm_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// either returns a URL that leads to whichever of the servers takes writes.
func either(t *testing.T, servers ...*pgtest.Server) string {
	t.Helper()
	u, err := url.Parse(servers[0].URL())
	must(t, err)
	query := u.Query()
	var hosts, ports []string
	for _, s := range servers {
		hosts, ports = append(hosts, s.Dir()), append(ports, query.Get("port"))
	}
	query.Set("host", strings.Join(hosts, ","))
	query.Set("port", strings.Join(ports, ","))
	query.Set("target_session_attrs", "read-write")
	u.RawQuery = query.Encode()
	return u.String()
}

// A primary that is fenced off goes on answering, but refuses to write. Connections to it are then of no use: the pool must find the
// new primary by itself, whether it is ours or the host's.
func TestReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	old, err := pgtest.Start(t.Context(), pgtest.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, old.Close()) })
	replica, err := old.Replica(t.Context(), pgtest.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, replica.Close()) })

	own := open(t, pgdbm.Config{URL: either(t, old, replica.Server), MinConns: 3})
	if got := own.Pgx().Config().ConnConfig.ConnectTimeout; got != 3*time.Second {
		t.Errorf("ConnectTimeout with two hosts = %s, want 3s", got)
	}
	pools := map[string]*pgdbm.Pool{"own": own, "borrowed": pgdbm.Wrap(host(t, either(t, old, replica.Server), nil), nil)}
	table(t, own, "app")
	for _, p := range pools { // several connections each, all of them to the old primary
		var held []*pgdbm.Conn
		for range 3 {
			c, err := p.Schema("app").Acquire(t.Context())
			must(t, err)
			held = append(held, c)
		}
		for _, c := range held {
			c.Release()
		}
	}

	admin := open(t, pgdbm.Config{URL: old.URL()}).Schema("public")
	run(t, admin, "ALTER SYSTEM SET default_transaction_read_only = on")
	run(t, admin, "SELECT pg_reload_conf()")
	must(t, replica.CatchUp(t.Context()))
	for name, p := range pools {
		db := p.Schema("app")
		for wait := time.Now().Add(5 * time.Second); !pgdbm.IsReadOnly(write(t, db)); time.Sleep(time.Millisecond) {
			if time.Now().After(wait) {
				t.Fatalf("%s: the old primary goes on writing", name)
			}
		}
	}
	must(t, replica.Promote(t.Context()))
	for name, p := range pools {
		db, began, refused := p.Schema("app"), time.Now(), 0
		for err := write(t, db); err != nil; err = write(t, db) {
			if refused++; time.Since(began) > 5*time.Second {
				t.Fatalf("%s: writes do not find the new primary: %v", name, err)
			}
		}
		t.Logf("%s: writes recovered in %s, after %d refused", name, time.Since(began), refused)
		if name == "own" && refused > 1 {
			t.Errorf("own: %d writes were refused, want all connections left at the first", refused)
		}
		if value[bool](t, db, "SELECT current_setting('default_transaction_read_only')::bool") {
			t.Errorf("%s: still on the old primary", name)
		}
	}
}

// write writes one row.
func write(t *testing.T, db *pgdbm.DB) error {
	t.Helper()
	return db.InTx(t.Context(), nil, func(tx *pgdbm.Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO {{tables.items}} (id) SELECT coalesce(max(id), 0) + 1 FROM {{tables.items}}")
		return err
	})
}
