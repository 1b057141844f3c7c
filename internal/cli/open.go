package cli

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
)

// keyValue matches the beginning of a libpq connection string such as "host=/run/postgresql dbname=app". Names of files that
// have a "=" are no such string.
var keyValue = regexp.MustCompile(`^\s*(host|hostaddr|port|dbname|user|password|passfile|service|servicefile|sslmode|sslrootcert|` +
	`sslcert|sslkey|sslpassword|sslsni|sslnegotiation|application_name|options|connect_timeout|target_session_attrs|` +
	`min_protocol_version|max_protocol_version|krbsrvname|krbspn|channel_binding|require_auth)\s*=`)

// databaseURL returns the database to use.
func (a *app) databaseURL() (string, error) {
	if a.opts.db == "" {
		return "", usagef("no database: set --db or LLMEMORY_DB, for example LLMEMORY_DB=postgres://user@localhost/app")
	}
	for _, url := range a.opts.readURLs {
		if err := checkURL("--read-url", url); err != nil {
			return "", err
		}
	}
	return a.opts.db, checkURL("--db", a.opts.db)
}

func checkURL(flag, url string) error {
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") || keyValue.MatchString(url) {
		return nil
	}
	// The value may hold a password: it is not repeated.
	return usagef("%s is no PostgreSQL URL: this version supports nothing but postgres://… and libpq's key=value strings", flag)
}

func (a *app) poolConfig() pgdbm.Config {
	c := pgdbm.Config{ApplicationName: "llmemory"}
	if a.opts.verbose {
		c.Logger = a.logger
	}
	return c
}

// existing is open for commands that have nothing to do in a schema that is not there: a misspelt name is told, not made.
func (a *app) existing(ctx context.Context) (*llmemory.Memory, func(), error) {
	if a.opts.schema != "" {
		if err := a.requireSchema(ctx); err != nil {
			return nil, nil, err
		}
	}
	return a.open(ctx)
}

func (a *app) requireSchema(ctx context.Context) error {
	db, closer, err := a.handle(ctx)
	if err != nil {
		return nil //nolint:nilerr // open says what is wrong
	}
	defer closer()
	var exists bool
	err = db.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)", a.opts.schema).Scan(&exists)
	if err == nil && !exists {
		err = fmt.Errorf("schema %q: %w; \"add\" makes it, and so does \"migrate up\"", a.opts.schema, llmemory.ErrNotFound)
	}
	return err
}

// open returns the memory in the database, its schema made and migrated, and what closes it.
func (a *app) open(ctx context.Context) (*llmemory.Memory, func(), error) {
	url, err := a.databaseURL()
	if err != nil {
		return nil, nil, err
	}
	e, err := a.embedder()
	if err != nil {
		return nil, nil, err
	}
	store, err := postgres.Open(ctx, url, &postgres.Options{Schema: a.opts.schema, Pool: a.poolConfig(), ReadURLs: a.opts.readURLs})
	if err != nil {
		return nil, nil, err
	}
	closer := func() { _ = store.Close() } // it closes a pool, which cannot fail
	memory, err := llmemory.New(store, &llmemory.Config{Extractor: a.extractor, Embedder: e, Logger: a.logger})
	if err != nil {
		closer()
		return nil, nil, err
	}
	return memory, closer, nil
}

// owner returns the memory of the owner that the command works for, which is there already, and what closes it.
func (a *app) owner(ctx context.Context) (*llmemory.Owner, func(), error) {
	memory, closer, err := a.existing(ctx)
	if err != nil {
		return nil, nil, err
	}
	return memory.Owner(a.opts.owner), closer, nil
}

// handle connects without migrating, for the commands that look after the schema.
func (a *app) handle(ctx context.Context) (*pgdbm.DB, func(), error) {
	url, err := a.databaseURL()
	if err != nil {
		return nil, nil, err
	}
	config := a.poolConfig()
	config.URL = url
	pool, err := pgdbm.Open(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	if a.opts.schema != "" {
		return pool.Schema(a.opts.schema), pool.Close, nil
	}
	db, err := pool.DefaultSchema(ctx)
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return db, pool.Close, nil
}
