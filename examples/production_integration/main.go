// Command production_integration is an HTTP service as it would run in production: one connection pool, three services in three
// schemas, background maintenance, limits on time and size, and an orderly end.
//
//	DATABASE_URL=postgres://localhost/myapp API_KEYS=s3cret=team-1 go run ./examples/production_integration
//	curl -H 'Authorization: Bearer s3cret' -d '{"name": "note", "content": "The bridge is closed."}' localhost:8080/documents
//	curl -H 'Authorization: Bearer s3cret' 'localhost:8080/search?q=bridge'
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/llmemory/llmemory"
	processor "github.com/llmemory/llmemory/examples/document_processor"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/store/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	c, err := configFromEnv(os.Getenv)
	if err == nil {
		err = run(ctx, c, log, nil)
	}
	if err != nil {
		log.Error("stopped", "error", err)
		os.Exit(1)
	}
}

// config is what the service is told from outside.
type config struct {
	databaseURL string
	listen      string            // address, such as ":8080"
	keys        map[string]string // API key to owner
	notice      time.Duration     // how long readyz says no before the service stops listening
	drain       time.Duration     // how long requests under way may take after that
}

func configFromEnv(getenv func(string) string) (config, error) {
	c := config{
		databaseURL: getenv("DATABASE_URL"),
		listen:      cmp.Or(getenv("LISTEN"), "localhost:8080"),
		keys:        map[string]string{},
		drain:       20 * time.Second,
	}
	if notice := getenv("SHUTDOWN_NOTICE"); notice != "" {
		var err error
		if c.notice, err = time.ParseDuration(notice); err != nil {
			return config{}, fmt.Errorf("SHUTDOWN_NOTICE: %w", err)
		}
	}
	for i, pair := range strings.Split(getenv("API_KEYS"), ",") {
		key, owner, ok := strings.Cut(pair, "=")
		if !ok || key == "" || owner == "" {
			return config{}, fmt.Errorf("API_KEYS: entry %d is not of the form key=owner", i+1) // the key stays out of the log
		}
		c.keys[key] = owner
	}
	return c, nil
}

// run starts everything in order, serves until ctx ends, and stops everything in the opposite order: first requests, then
// maintenance, then the stores, last the pool. Each defer stands right after what it undoes, so the order keeps itself. ready, if
// not nil, is told the address once the service listens.
func run(ctx context.Context, c config, log *slog.Logger, ready func(net.Addr)) error {
	pool, err := pgdbm.Open(ctx, pgdbm.Config{
		URL: c.databaseURL, MinConns: 2, MaxConns: 20, ApplicationName: "production_integration", Logger: log,
	})
	if err != nil {
		return err
	}
	defer pool.Close()

	keys, err := newAuth(ctx, pool.Schema("api_keys"))
	if err != nil {
		return err
	}
	if err := keys.replace(ctx, c.keys); err != nil {
		return err
	}
	store, err := postgres.New(ctx, pool.Schema("llmemory"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	mem, err := llmemory.New(store, &llmemory.Config{MaxContentBytes: maxContent, Logger: log})
	if err != nil {
		return err
	}
	docs, err := processor.New(ctx, processor.Config{DB: pool.Schema("doc_processor")})
	if err != nil {
		return err
	}
	defer docs.Close()

	stop := background(ctx, log, mem.Run, docs.Run)
	defer stop()

	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	if ready != nil {
		ready(listener.Addr())
	}
	log.Info("ready", "address", listener.Addr().String())
	defer log.Info("stopping")
	return serve(ctx, listener, &service{pool: pool, keys: keys, mem: mem, docs: docs, log: log}, c)
}

// background runs jobs until stop is called, which waits for them. They do not end with ctx itself: the requests under way come
// first.
func background(ctx context.Context, log *slog.Logger, jobs ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, job := range jobs {
		wg.Go(func() {
			if err := job(ctx); !errors.Is(err, context.Canceled) {
				log.Error("maintenance ended", "error", err)
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// serve answers requests until ctx ends. Then it gives load balancers notice to look elsewhere, takes no more requests, and lets
// those under way finish.
func serve(ctx context.Context, listener net.Listener, s *service, c config) error {
	requests, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      requestTimeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	time.Sleep(c.notice)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.drain)
	defer cancel()
	if err := server.Shutdown(limited); err != nil {
		abort()
		return errors.Join(fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	return nil
}
