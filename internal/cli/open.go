package cli

import (
	"context"
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

// open returns the memory in the database, its schema migrated, and what closes it.
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

// owner returns the memory of the owner that the command works for, and what closes it.
func (a *app) owner(ctx context.Context) (*llmemory.Owner, func(), error) {
	memory, closer, err := a.open(ctx)
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
