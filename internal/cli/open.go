package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
	"github.com/llmemory/llmemory/store/sqlite"
)

// keyValue matches the beginning of a libpq connection string such as "host=/run/postgresql dbname=app". Names of files that
// have a "=" are no such string.
var keyValue = regexp.MustCompile(`^\s*(host|hostaddr|port|dbname|user|password|passfile|service|servicefile|sslmode|sslrootcert|` +
	`sslcert|sslkey|sslpassword|sslsni|sslnegotiation|application_name|options|connect_timeout|target_session_attrs|` +
	`min_protocol_version|max_protocol_version|krbsrvname|krbspn|channel_binding|require_auth)\s*=`)

// place is where documents are kept: a PostgreSQL database, or a file.
type place struct {
	url  string // of PostgreSQL, "" for a file
	path string // of the file
}

func (p place) isFile() bool { return p.url == "" }

// parsePlace reads what --db says; flag is how the setting is called in errors.
func parsePlace(flag, text string) (place, error) {
	if isPostgres(text) {
		return place{url: text}, nil
	}
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		text = strings.TrimPrefix(path, "//")
	} else if strings.Contains(text, "://") {
		// The value may hold a password: it is not repeated.
		return place{}, usagef("%s is no database that this program knows: name a file, or PostgreSQL by postgres://… or libpq's key=value", flag)
	}
	if text == "" {
		return place{}, usagef("%s names no file", flag)
	}
	return place{path: text}, nil
}

func isPostgres(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") || keyValue.MatchString(text)
}

// place is the database to use: the one that is named, else a file in the user's data folder.
func (a *app) place() (place, error) {
	for _, url := range a.opts.readURLs {
		if !isPostgres(url) {
			return place{}, usagef("--read-url is no PostgreSQL URL") // it may hold a password, too
		}
	}
	var p place
	var err error
	if a.opts.db != "" {
		p, err = parsePlace("--db", a.opts.db)
	} else {
		p.path, err = defaultFile(runtime.GOOS, a.env)
	}
	switch {
	case err != nil:
		return place{}, err
	case p.isFile() && a.opts.schema != "":
		return place{}, usagef("--schema is for PostgreSQL; the database is the file %s", p.path)
	case p.isFile() && len(a.opts.readURLs) > 0:
		return place{}, usagef("--read-url is for PostgreSQL; the database is the file %s", p.path)
	}
	return p, nil
}

// defaultFile is the file that is used unless a database is named: llmemory/memory.db in the user's data folder, which is
// XDG_DATA_HOME or ~/.local/share, on macOS ~/Library/Application Support, on Windows %LocalAppData%.
func defaultFile(goos string, env func(string) string) (string, error) {
	var dir string
	switch home := env("HOME"); {
	case goos == "windows":
		dir = env("LocalAppData")
	case goos == "darwin" && home != "":
		dir = filepath.Join(home, "Library", "Application Support")
	case goos != "darwin" && filepath.IsAbs(env("XDG_DATA_HOME")):
		dir = env("XDG_DATA_HOME")
	case home != "":
		dir = filepath.Join(home, ".local", "share")
	}
	if dir == "" {
		return "", usagef("no database: the user has no data folder; set --db or LLMEMORY_DB to a file, or to postgres://…")
	}
	return filepath.Join(dir, "llmemory", "memory.db"), nil
}

// makeFolder makes the folder of the file that is used by default, for nobody else to look into.
func (a *app) makeFolder(p place) error {
	if !p.isFile() || a.opts.db != "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}

// postgresOnly is the place for commands that mean nothing to a file.
func (a *app) postgresOnly(command string) (place, error) {
	p, err := a.place()
	if err == nil && p.isFile() {
		err = usagef("%q is for PostgreSQL; the database is the file %s", command, p.path)
	}
	return p, err
}

func (a *app) poolConfig() pgdbm.Config {
	c := pgdbm.Config{ApplicationName: "llmemory"}
	if a.opts.verbose {
		c.Logger = a.logger
	}
	return c
}

// existing is open for commands that have nothing to do in a schema or file that is not there: a misspelt name is told, not made.
func (a *app) existing(ctx context.Context, embeds bool) (*llmemory.Memory, func(), error) {
	p, err := a.place()
	if err != nil {
		return nil, nil, err
	}
	if p.isFile() {
		if err := requireFile(p.path); err != nil {
			return nil, nil, err
		}
	} else if a.opts.schema != "" {
		if err := a.requireSchema(ctx, p); err != nil {
			return nil, nil, err
		}
	}
	return a.open(ctx, embeds)
}

func requireFile(path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("file %s: %w; \"add\" makes it, and so does \"migrate up\"", path, llmemory.ErrNotFound)
	}
	return nil // whatever else there is, opening it tells
}

func (a *app) requireSchema(ctx context.Context, p place) error {
	db, closer, err := a.handle(ctx, p)
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

// closableStore is a store that this program opened.
type closableStore interface {
	llmemory.Store
	Close() error
}

// openStore opens the store at a place, its tables made and migrated. Everything that opens a store does it here.
// For a dry run nothing is made or migrated.
func (a *app) openStore(ctx context.Context, p place) (closableStore, error) {
	if a.opts.dryRun {
		switch empty, err := a.emptyPlace(ctx); {
		case err != nil:
			return nil, err
		case empty:
			return openStandIn(ctx)
		}
	}
	if p.isFile() {
		if err := a.makeFolder(p); err != nil {
			return nil, err
		}
		return opened(sqlite.Open(ctx, p.path, &sqlite.Options{RequireMigrated: a.opts.dryRun}))
	}
	return opened(postgres.Open(ctx, p.url, &postgres.Options{Schema: a.opts.schema, Pool: a.poolConfig(), ReadURLs: a.opts.readURLs,
		RequireMigrated: a.opts.dryRun}))
}

// emptyPlace tells whether the database has nothing of ours yet.
func (a *app) emptyPlace(ctx context.Context) (bool, error) {
	_, m, closer, err := a.migrator(ctx, false)
	if errors.Is(err, llmemory.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer closer()
	all, err := m.Status(ctx)
	applied := func(m pgdbm.Migration) bool { return m.State != pgdbm.MigrationPending }
	return !slices.ContainsFunc(all, applied), err
}

// standIn is an empty store in the place of one that is not there.
type standIn struct {
	*sqlite.Store
	folder string
}

func openStandIn(ctx context.Context) (closableStore, error) {
	folder, err := os.MkdirTemp("", "llmemory-*")
	if err != nil {
		return nil, fmt.Errorf("make a database for a dry run: %w", err)
	}
	store, err := sqlite.Open(ctx, filepath.Join(folder, "memory.db"), nil)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &standIn{store, folder}, nil
}

// Close implements [closableStore].
func (s *standIn) Close() error { return errors.Join(s.Store.Close(), os.RemoveAll(s.folder)) }

// opened keeps a nil pointer from becoming a store.
func opened[S closableStore](s S, err error) (closableStore, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open returns the memory in the database, its tables made and migrated, and what closes it. Only commands that embed something get
// an embedder: reading a model's weights takes a moment.
func (a *app) open(ctx context.Context, embeds bool) (*llmemory.Memory, func(), error) {
	p, err := a.place()
	if err != nil {
		return nil, nil, err
	}
	config := &llmemory.Config{Extractor: a.extractor, Logger: a.logger}
	if embeds {
		if config.Embedder, err = a.embedder(); err != nil {
			return nil, nil, err
		}
	}
	if config.Annotator, err = a.annotator(); err != nil {
		return nil, nil, err
	}
	store, err := a.openStore(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	closer := func() { _ = store.Close() } // everything is written by now
	memory, err := llmemory.New(store, config)
	if err != nil {
		closer()
		return nil, nil, err
	}
	return memory, closer, nil
}

// owner returns the memory of the owner that the command works for, which is there already, and what closes it.
func (a *app) owner(ctx context.Context, embeds bool) (*llmemory.Owner, func(), error) {
	memory, closer, err := a.existing(ctx, embeds)
	if err != nil {
		return nil, nil, err
	}
	return memory.Owner(a.opts.owner), closer, nil
}

// handle connects to PostgreSQL without migrating, for the commands that look after the schema.
func (a *app) handle(ctx context.Context, p place) (*pgdbm.DB, func(), error) {
	config := a.poolConfig()
	config.URL = p.url
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
