package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/internal/sqlfile"
	"github.com/llmemory/llmemory/pgdbm"
)

// Row-level security is a second wall between owners, in the database: even a statement that forgets to name the owner sees no
// other's rows. It is off until [EnableRowSecurity] switches it on, for every role but superusers and those with BYPASSRLS.
//
// Each transaction then says whose rows it works on, in the round trip of its first statements. One that does not, because its
// work is for all owners at once, fails, unless the worker role runs it. Such work is: Backlog and Owners; Progress, Inputs, ActivateGeneration
// and RetireGeneration; Backfill, Claim and Tune; Known, Complete, Extend and Fail for jobs of several owners. So programs that run
// [llmemory.Memory.Run] or EmbedQueue, and whoever looks after generations, do so as the worker role.

// RowSecurity is what row-level security is like, as seen by the role that asks.
type RowSecurity struct {
	On          bool     // forced on every table of owners
	Unprotected []string // tables of owners without it, if it is on for others
	Role        string   // who asks
	Active      bool     // it holds for this role
	Above       bool     // this role is a superuser or has BYPASSRLS: it never holds for it
	Worker      bool     // this role may work for all owners
	Workers     []string // roles that may
}

// noOwner is the SQLSTATE of a statement that names no owner; see security_function.
const noOwner = "LLM01"

// ownerTables are those of the migrations' tables that have an owner in each row: all but one.
func ownerTables() []string {
	var out []string
	for _, t := range tables {
		if t != "embedding_generations" {
			out = append(out, t)
		}
	}
	return out
}

// EnableRowSecurity forces row-level security on all tables of owners in the schema of db, and on those of generations to come. The
// worker role may work for all owners; "" means the role that owns the tables. It needs the rights of that role, and may be called
// again, to name another worker. Programs that run meanwhile go on.
func EnableRowSecurity(ctx context.Context, db *pgdbm.DB, worker string) error {
	return changeSecurity(ctx, db, func(ctx context.Context, tx *pgdbm.Tx, sql sqlfile.Set, list []string) error {
		if worker == "" {
			place := sqlfile.Quote(db.SchemaName()) + "." + sqlfile.Quote(tables[0])
			if err := tx.QueryRow(ctx, sql.Get("security_owner_of_tables"), place).Scan(&worker); err != nil {
				return err
			}
		}
		var b pgdbm.Batch
		b.Queue(sql.Get("security_function"))
		for _, t := range list {
			for _, name := range []string{"security_on", "security_drop_owner_policy", "security_drop_worker_policy", "security_owner_policy",
				"security_worker_policy"} {
				b.Queue(strings.NewReplacer("{{tables.tenant}}", "{{tables."+t+"}}", "/*role*/", sqlfile.Quote(worker)).Replace(sql.Get(name)))
			}
		}
		return tx.Run(ctx, &b)
	})
}

// DisableRowSecurity takes back what [EnableRowSecurity] did.
func DisableRowSecurity(ctx context.Context, db *pgdbm.DB) error {
	return changeSecurity(ctx, db, func(ctx context.Context, tx *pgdbm.Tx, sql sqlfile.Set, list []string) error {
		var b pgdbm.Batch
		for _, t := range list {
			for _, name := range []string{"security_off", "security_drop_owner_policy", "security_drop_worker_policy"} {
				b.Queue(strings.ReplaceAll(sql.Get(name), "{{tables.tenant}}", "{{tables."+t+"}}"))
			}
		}
		b.Queue(sql.Get("security_drop_function"))
		return tx.Run(ctx, &b)
	})
}

// changeSecurity runs change with the names of all tables of owners, to which no generation adds one meanwhile.
func changeSecurity(ctx context.Context, db *pgdbm.DB, change func(context.Context, *pgdbm.Tx, sqlfile.Set, []string) error) error {
	m, err := Migrations(db)
	if err != nil {
		return err
	}
	if _, err := ready(ctx, db, m, true); err != nil {
		return translate(err)
	}
	sql, err := statements()
	if err != nil {
		return err
	}
	err = patiently(ctx, func() error {
		return db.InTx(ctx, readCommitted, func(tx *pgdbm.Tx) error {
			var list []string
			var b pgdbm.Batch
			b.Queue(`SET LOCAL lock_timeout = '500ms'`)
			b.Queue(sql.Get("lock_generations"))
			b.Queue(sql.Get("security_tables"), db.SchemaName(), ownerTables()).Rows(collect(&list, func(r pgx.Rows, name *string) error {
				var on bool
				return r.Scan(name, &on)
			}))
			if err := tx.Run(ctx, &b); err != nil {
				return err
			}
			return change(ctx, tx, sql, list)
		})
	})
	if pgdbm.IsPrivilege(err) {
		err = fmt.Errorf("%w; run it as the owner of the tables", err)
	}
	return translate(err)
}

// patience bounds how often a change of tables is tried while others use them.
const patience = 30

// patiently runs fn again while it does not get the locks it needs. Whoever comes while we wait for a lock waits behind us: so fn
// must not wait for long.
func patiently(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		err := fn()
		again := pgdbm.IsSerialization(err) || pgdbm.SQLState(err) == "55P03"
		if !again || try == patience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(min(try, 10)) * 50 * time.Millisecond):
		}
	}
}

// RowSecurityOf tells what row-level security is like in a migrated schema.
func RowSecurityOf(ctx context.Context, db *pgdbm.DB) (*RowSecurity, error) {
	sql, err := statements()
	if err != nil {
		return nil, err
	}
	out := &RowSecurity{}
	protected := 0
	var b pgdbm.Batch
	b.Queue(sql.Get("security_tables"), db.SchemaName(), ownerTables()).Rows(func(rows pgx.Rows) error {
		for rows.Next() {
			var name string
			var on bool
			if err := rows.Scan(&name, &on); err != nil {
				return err
			}
			if on {
				protected++
			} else {
				out.Unprotected = append(out.Unprotected, name)
			}
		}
		return rows.Err()
	})
	b.Queue(sql.Get("security_state"), sqlfile.Quote(db.SchemaName())+"."+sqlfile.Quote(tables[0])).Row(func(row pgx.Row) error {
		return row.Scan(&out.Role, &out.Active, &out.Above, &out.Worker, &out.Workers)
	})
	if err := db.Run(ctx, &b); err != nil {
		return nil, translate(err)
	}
	if out.On = protected > 0 && len(out.Unprotected) == 0; protected == 0 {
		out.Unprotected = nil
	}
	return out, nil
}

// batch returns a batch of a transaction's first statements. Where row-level security holds, they say first whose rows they are about,
// until the transaction ends; "" is for what is not about one owner. A host's transaction may have been about one before.
func (s *Store) batch(owner string) *pgdbm.Batch {
	b := &pgdbm.Batch{}
	if (owner != "" || s.joined) && s.shared.secured.Load() {
		b.Queue(`SELECT pg_catalog.set_config('llmemory.owner', $1, true)`, owner)
	}
	return b
}

// unaware tells whether a statement failed because row-level security was switched on after the store was opened. From then on the
// store knows.
func (s *Store) unaware(err error) bool {
	return pgdbm.SQLState(err) == noOwner && !s.shared.secured.Swap(true)
}

// forbidden is the error of work for all owners that row-level security keeps from this role.
func forbidden(err error) error {
	return &llmemory.UnavailableError{What: "work for all owners",
		Err: fmt.Errorf("%w; do it as the worker role, which `llmemory migrate security` tells", err)}
}
