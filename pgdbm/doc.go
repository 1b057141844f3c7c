// Package pgdbm gives every module of a program its own PostgreSQL schema on
// one shared pool: handles that are bound to a schema, SQL templates instead of
// search_path, batches and transactions that save round trips, and migrations
// that many processes may start at once.
//
//	pool, err := pgdbm.Open(ctx, pgdbm.Config{URL: url})
//	defer pool.Close()
//
//	notes := pool.Schema("notes")
//	err = notes.Migrate(ctx, "notes", migrations) // an fs.FS of 001_first.sql, …
//	_, err = notes.Exec(ctx, "INSERT INTO {{tables.notes}} (text) VALUES ($1)", text)
//
// # A good guest
//
// A library that is given a host's pool ([Wrap]) or transaction ([DB.WithTx])
// leaves no trace on its connections: every statement is unnamed and in the
// extended protocol, nothing is prepared or cached, no session setting, type
// registration, LISTEN or session lock is used. For the same reason everything
// here works through a transaction pooler such as PgBouncer, and with a pool of
// one connection.
//
// # Who closes what
//
// A pool made by [Open] is closed by its Close. One made by [Wrap] is the
// host's, and Close does nothing. Handles ([DB]) need no closing.
package pgdbm
