package pgdbm

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/llmemory/llmemory/internal/migrate"
	"github.com/llmemory/llmemory/internal/sqlfile"
)

// driver is PostgreSQL for the migration engine.
type driver struct{ db *DB }

var (
	_ migrate.Driver   = (*driver)(nil)
	_ migrate.Detached = (*driver)(nil)
)

// ddlLockTimeout is how long a migration stands in the queue for a table lock.
// While it stands there, everybody who comes later waits behind it, plain
// readers included; so it leaves soon, and comes back.
const ddlLockTimeout = "2s"

const (
	createTracking = `CREATE TABLE {{tables.schema_migrations}} (
	module      text        NOT NULL,
	version     bigint      NOT NULL,
	name        text        NOT NULL,
	checksum    text        NOT NULL,
	applied_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	duration_ms bigint      NOT NULL,
	applied_by  text        NOT NULL DEFAULT CURRENT_USER,
	PRIMARY KEY (module, version)
)`
	// createProgress makes the table of scripts that run outside transactions. It
	// is made when the first of them is run: most schemas never need it.
	createProgress = `CREATE TABLE IF NOT EXISTS {{tables.schema_migrations_progress}} (
	module      text        NOT NULL,
	version     bigint      NOT NULL,
	checksum    text        NOT NULL,
	started     int         NOT NULL DEFAULT 0,
	done        int         NOT NULL DEFAULT 0,
	owner       text        NOT NULL,
	lease_until timestamptz NOT NULL,
	PRIMARY KEY (module, version)
)`
	selectColumns = `SELECT a.attname::text
FROM pg_catalog.pg_namespace n
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_migrations'
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY a.attnum`
	selectApplied = `SELECT version, name, checksum, applied_at, duration_ms, applied_by
FROM {{tables.schema_migrations}} WHERE module = $1 ORDER BY version`
)

var trackingColumns = []string{"module", "version", "name", "checksum", "applied_at", "duration_ms", "applied_by"}

// tracking looks at the columns of the tracking table: is there one, and if it
// is not ours, whose is it?
func tracking(ctx context.Context, q Querier, schema string) (exists bool, foreign string, err error) {
	rows, err := q.Query(ctx, selectColumns, schema)
	if err != nil {
		return false, "", err
	}
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(columns) == 0 {
		return false, "", err
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if !slices.Contains(columns, n) {
				return false
			}
		}
		return true
	}
	switch list := strings.Join(columns, ", "); {
	case has(trackingColumns...):
		return true, "", nil
	case len(columns) == 1 && has("version"):
		return true, "its only column is version, as Rails, dbmate and others make it", nil
	case has("version", "dirty"):
		return true, "its columns are " + list + ", as golang-migrate makes it", nil
	case has("filename", "checksum", "module_name"):
		return true, "its columns are " + list + ", as the Python package pgdbm makes it", nil
	default:
		return true, "its columns are " + list, nil
	}
}

func applied(ctx context.Context, q Querier, module string) ([]migrate.Applied, error) {
	rows, err := q.Query(ctx, selectApplied, module)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a migrate.Applied, err error) {
		var ms int64
		err = row.Scan(&a.Version, &a.Name, &a.Checksum, &a.AppliedAt, &ms, &a.By)
		a.Duration = time.Duration(ms) * time.Millisecond
		return a, err
	})
}

// Inspect implements migrate.Driver.
func (d *driver) Inspect(ctx context.Context, module string) (st migrate.State, err error) {
	if d.db.err != nil {
		return st, d.db.err
	}
	exists, foreign, err := tracking(ctx, d.db, d.db.schema)
	if err != nil || !exists || foreign != "" {
		return migrate.State{Foreign: foreign}, err
	}
	st.Applied, err = applied(ctx, d.db, module)
	if IsPrivilege(err) {
		role, schema := "role", sqlfile.Quote(d.db.schema)
		var name string
		if d.db.QueryRow(ctx, "SELECT current_user::text").Scan(&name) == nil {
			role = sqlfile.Quote(name)
		}
		err = fmt.Errorf("%w; an administrator can run: GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %[2]s.schema_migrations TO %[3]s", err, schema, role)
	}
	return st, err
}

// Denied implements migrate.Driver.
func (d *driver) Denied(ctx context.Context) (string, error) {
	var (
		role, database                  string
		mayMake, exists, create, record bool
	)
	err := d.db.QueryRow(ctx, `SELECT current_user::text, pg_catalog.current_database()::text,
	pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
	n.oid IS NOT NULL,
	COALESCE(pg_catalog.has_schema_privilege(n.oid, 'CREATE') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false),
	c.oid IS NULL OR pg_catalog.has_table_privilege(c.oid, 'INSERT')
FROM (SELECT $1::text AS schema) AS want
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = want.schema
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_migrations'`, d.db.schema).
		Scan(&role, &database, &mayMake, &exists, &create, &record)
	if err != nil {
		return "", err
	}
	schema, to := sqlfile.Quote(d.db.schema), sqlfile.Quote(role)
	switch {
	case !exists && !mayMake:
		return fmt.Sprintf("the schema does not exist and role %s may not create it; an administrator can run: CREATE SCHEMA %s AUTHORIZATION %s (or GRANT CREATE ON DATABASE %s TO %s)",
			to, schema, to, sqlfile.Quote(database), to), nil
	case exists && !create:
		return fmt.Sprintf("role %s may not create tables in the schema; an administrator can run: GRANT USAGE, CREATE ON SCHEMA %s TO %s", to, schema, to), nil
	case !record:
		return fmt.Sprintf("role %s may not record migrations; an administrator can run: GRANT SELECT, INSERT, UPDATE, DELETE ON %s.schema_migrations TO %s", to, schema, to), nil
	}
	return "", nil
}

// lockKey is the advisory lock of a schema. Such locks are local to the
// database.
func lockKey(schema string) int64 {
	h := fnv.New64a()
	h.Write([]byte(schema + "\x00pgdbm migrations"))
	return int64(h.Sum64())
}

// Lock implements migrate.Driver.
//
// The lock is tried, not waited for: a transaction that waits has a snapshot,
// and CREATE INDEX CONCURRENTLY of another process would wait for that in turn,
// until the server calls it a deadlock. It also keeps no connection busy.
func (d *driver) Lock(ctx context.Context, fn func(migrate.Session) error) error {
	const firstPause, longestPause = 20 * time.Millisecond, 250 * time.Millisecond
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		got, err := d.tryLock(ctx, fn)
		switch {
		case err == nil && got:
			return nil
		case errors.Is(err, ErrPoolExhausted) && ctx.Err() == nil:
			return fmt.Errorf("%w: %w", migrate.ErrLocked, err)
		case SQLState(err) == "55P03" || SQLState(err) == "40P01":
			return fmt.Errorf("%w: %w", migrate.ErrLocked, err)
		case err != nil:
			return err
		}
		if !sleep(ctx, jitter(pause)) {
			return newError("migrate", "", fmt.Errorf("%w while another process migrates schema %s", ctx.Err(), sqlfile.Quote(d.db.schema)), nil)
		}
	}
}

func (d *driver) tryLock(ctx context.Context, fn func(migrate.Session) error) (got bool, err error) {
	var first Batch
	// Building an index takes as long as it takes; the context can end it.
	first.Queue("SET LOCAL statement_timeout = 0")
	first.Queue("SET LOCAL idle_in_transaction_session_timeout = 0")
	first.Queue("SET LOCAL lock_timeout = '" + ddlLockTimeout + "'")
	first.Queue("SELECT pg_catalog.pg_try_advisory_xact_lock($1::int8)", lockKey(d.db.schema)).Row(func(r pgx.Row) error { return r.Scan(&got) })
	tx, err := d.db.Begin(ctx, nil, &first)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if !got {
		return false, nil
	}
	if err := d.setUp(ctx, tx); err != nil {
		return true, err
	}
	if err := fn(&migration{tx}); err != nil {
		return true, err
	}
	return true, tx.Commit(ctx, nil)
}

// setUp makes the schema and the tracking table. It is called under the lock.
func (d *driver) setUp(ctx context.Context, tx *Tx) error {
	exists, foreign, err := tracking(ctx, tx, d.db.schema)
	switch {
	case err != nil:
		return err
	case foreign != "":
		return migrate.Foreign(foreign)
	case exists:
		return nil
	}
	var found bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", d.db.schema).Scan(&found); err != nil {
		return err
	}
	var b Batch
	if !found { // IF NOT EXISTS would ask for the right even if it does
		b.Queue("CREATE SCHEMA {{schema}}")
	}
	b.Queue(createTracking)
	return tx.Run(ctx, &b)
}

// Holders implements migrate.Driver.
func (d *driver) Holders(ctx context.Context) string {
	rows, err := d.db.Query(ctx, `SELECT DISTINCT pg_catalog.format('pid %s (%s, %s, for %s s, %s on %s)', l.pid,
	COALESCE(a.application_name, '?'), COALESCE(a.state, 'state not visible'),
	COALESCE(pg_catalog.round(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::text, '?'), l.mode, c.relname)
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND n.nspname = $1 AND c.relkind IN ('r', 'p', 'm')
	AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
	AND l.pid <> pg_catalog.pg_backend_pid()
ORDER BY 1 LIMIT 5`, d.db.schema)
	if err != nil {
		return ""
	}
	holders, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return ""
	}
	return strings.Join(holders, ", ")
}

// Render implements migrate.Driver.
func (d *driver) Render(text string) (migrate.Rendered, error) {
	if d.db.err != nil {
		return migrate.Rendered{}, d.db.err
	}
	r, err := sqlfile.RenderMapped(text, d.db.schema)
	return migrate.Rendered{SQL: r.SQL, Source: r.Source}, err
}

// InvalidIndexes implements migrate.Driver. An index being built right now is
// not invalid yet.
func (d *driver) InvalidIndexes(ctx context.Context) ([]string, error) {
	rows, err := d.db.Query(ctx, `SELECT c.relname::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND NOT i.indisvalid
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
ORDER BY 1`, d.db.schema)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// migration is the transaction of one migration.
type migration struct{ tx *Tx }

// Applied implements migrate.Session.
func (m *migration) Applied(ctx context.Context, module string) ([]migrate.Applied, error) {
	return applied(ctx, m.tx, module)
}

// Exec implements migrate.Session. A whole script goes through the simple
// protocol, which takes many statements and leaves the server to tell them
// apart; positions of errors then count from the start of the script.
func (m *migration) Exec(ctx context.Context, sql string) error {
	err := script(ctx, m.tx.db, m.tx.conn, sql)
	if err == nil && m.tx.conn.PgConn().TxStatus() != 'T' {
		// A statement that the splitter took for something else.
		err = fmt.Errorf("%w: the script ended the transaction", migrate.ErrFiles)
	}
	return err
}

// script runs SQL in the simple protocol, with trace.
func script(ctx context.Context, db *DB, conn *pgx.Conn, sql string) error {
	start := time.Now()
	results := conn.PgConn().Exec(ctx, sql)
	completed := 0
	for results.NextResult() {
		if _, err := results.ResultReader().Close(); err == nil {
			completed++
		}
	}
	err := results.Close()
	if err != nil {
		err = scriptError(sql, completed, conn, err)
	}
	db.pool.trace(ctx, Event{
		Kind: KindMigrate, Schema: db.schema, Statement: excerpt(sql), Statements: completed, RoundTrips: 1, Start: start, Err: err,
	})
	return err
}

// scriptError finds the place of an error in a script.
func scriptError(sql string, completed int, conn *pgx.Conn, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		if conn.IsClosed() {
			err = lost(err)
		}
		return newError("migrate", "", err, nil)
	}
	out := &migrate.SQLError{Offset: -1, Statement: completed, Err: pgErr}
	if pgErr.Position > 0 { // in characters, from 1
		out.Offset = 0
		for range pgErr.Position - 1 {
			_, size := utf8.DecodeRuneInString(sql[out.Offset:])
			out.Offset += size
		}
	}
	return out
}

// Record implements migrate.Session.
func (m *migration) Record(ctx context.Context, module string, a migrate.Applied) error {
	_, err := m.tx.Exec(ctx, `INSERT INTO {{tables.schema_migrations}} (module, version, name, checksum, duration_ms)
VALUES ($1, $2, $3, $4, $5)`, module, a.Version, a.Name, a.Checksum, a.Duration.Milliseconds())
	return err
}

// Forget implements migrate.Session.
func (m *migration) Forget(ctx context.Context, module string, version int64) error {
	_, err := m.tx.Exec(ctx, "DELETE FROM {{tables.schema_migrations}} WHERE module = $1 AND version = $2", module, version)
	return err
}

// Claim implements migrate.Session. All times are the database's.
func (m *migration) Claim(ctx context.Context, l migrate.Lease) (c migrate.Claim, err error) {
	if _, err := m.tx.Exec(ctx, createProgress); err != nil {
		return c, err
	}
	var (
		checksum string
		expired  bool
		working  bool
	)
	err = m.tx.QueryRow(ctx, `SELECT checksum, started, done, lease_until < pg_catalog.clock_timestamp(),
	EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
		WHERE a.state = 'active' AND a.query LIKE '/* pgdbm:' || p.owner || ' */%')
FROM {{tables.schema_migrations_progress}} p WHERE module = $1 AND version = $2 FOR UPDATE`, l.Module, l.Version).
		Scan(&checksum, &c.Started, &c.Done, &expired, &working)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return c, err
	case !expired || working:
		return migrate.Claim{}, nil
	case checksum != l.Checksum && c.Started > 0:
		return c, fmt.Errorf("%w: %d of its statements were already run by an earlier start", migrate.ErrChanged, c.Done)
	}
	c.Granted = true
	_, err = m.tx.Exec(ctx, `INSERT INTO {{tables.schema_migrations_progress}} AS p (module, version, checksum, owner, lease_until)
VALUES ($1, $2, $3, $4, pg_catalog.clock_timestamp() + $5::interval)
ON CONFLICT (module, version) DO UPDATE SET checksum = excluded.checksum, owner = excluded.owner, lease_until = excluded.lease_until`,
		l.Module, l.Version, l.Checksum, l.Owner, l.Duration)
	return c, err
}

// Unclaim implements migrate.Session.
func (m *migration) Unclaim(ctx context.Context, l migrate.Lease) error {
	tag, err := m.tx.Exec(ctx, "DELETE FROM {{tables.schema_migrations_progress}} WHERE module = $1 AND version = $2 AND owner = $3",
		l.Module, l.Version, l.Owner)
	return held(tag, err)
}

// held turns "no row of this owner" into the loss of the lease.
func held(tag pgconn.CommandTag, err error) error {
	if err == nil && tag.RowsAffected() == 0 {
		return migrate.ErrLeaseLost
	}
	return err
}

// Renew implements migrate.Detached.
func (d *driver) Renew(ctx context.Context, l migrate.Lease) error {
	return held(d.db.Exec(ctx, `UPDATE {{tables.schema_migrations_progress}} SET lease_until = pg_catalog.clock_timestamp() + $4::interval
WHERE module = $1 AND version = $2 AND owner = $3`, l.Module, l.Version, l.Owner, l.Duration))
}

// Progress implements migrate.Detached.
func (d *driver) Progress(ctx context.Context, l migrate.Lease, started, done int) error {
	return held(d.db.Exec(ctx, `UPDATE {{tables.schema_migrations_progress}}
SET lease_until = pg_catalog.clock_timestamp() + $4::interval, started = $5, done = $6
WHERE module = $1 AND version = $2 AND owner = $3`, l.Module, l.Version, l.Owner, l.Duration, started, done))
}

// Release implements migrate.Detached.
func (d *driver) Release(ctx context.Context, l migrate.Lease) error {
	return held(d.db.Exec(ctx, `UPDATE {{tables.schema_migrations_progress}} SET lease_until = '-infinity'
WHERE module = $1 AND version = $2 AND owner = $3`, l.Module, l.Version, l.Owner))
}

// Run implements migrate.Detached.
func (d *driver) Run(ctx context.Context, l migrate.Lease, s migrate.Statement) error {
	conn, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer d.hangUp(ctx, conn)
	// The comment shows others in pg_stat_activity that the owner is at work.
	tag := "/* pgdbm:" + l.Owner + " */ "
	err = script(ctx, d.db, conn, tag+s.Text)
	var e *migrate.SQLError
	if errors.As(err, &e) && e.Offset >= 0 {
		e.Offset = max(e.Offset-len(tag), 0)
	}
	return err
}

// Repair implements migrate.Detached. It knows CREATE INDEX CONCURRENTLY.
func (d *driver) Repair(ctx context.Context, l migrate.Lease, s migrate.Statement) (exists bool, err error) {
	name, ok := concurrentIndex(s)
	if !ok {
		return false, nil
	}
	var valid bool
	err = d.db.QueryRow(ctx, `SELECT i.indisvalid FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`, d.db.schema, name).Scan(&valid)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil || valid:
		return valid, err
	}
	drop := "DROP INDEX CONCURRENTLY " + sqlfile.Quote(d.db.schema) + "." + sqlfile.Quote(name)
	return false, d.Run(ctx, l, migrate.Statement{Text: drop})
}

// concurrentIndex returns the name in CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT
// EXISTS] name ON ….
func concurrentIndex(s migrate.Statement) (string, bool) {
	t := s.Tokens
	skip := func(keywords ...string) bool {
		if !(migrate.Statement{Tokens: t}).Starts(keywords...) {
			return false
		}
		t = t[len(keywords):]
		return true
	}
	if !skip("CREATE") {
		return "", false
	}
	skip("UNIQUE")
	if !skip("INDEX", "CONCURRENTLY") {
		return "", false
	}
	skip("IF", "NOT", "EXISTS")
	if len(t) == 0 || t[0].Is("ON") { // the server makes up a name
		return "", false
	}
	return t[0].Identifier(), true
}

// dial opens a connection beside the pool for statements that run outside
// transactions. There SET LOCAL is of no use, and the pool's time limits, made
// for short calls, would end the building of an index.
func (d *driver) dial(ctx context.Context) (*pgx.Conn, error) {
	return d.db.pool.Dial(ctx, map[string]string{"statement_timeout": "0", "lock_timeout": "0"})
}

// hangUp closes a connection of dial, also when ctx has ended.
func (d *driver) hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
