package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/llmemory/llmemory"
	processor "github.com/llmemory/llmemory/examples/document_processor"
	"github.com/llmemory/llmemory/pgdbm"
)

const (
	maxContent     = 1 << 20        // bytes of one document
	maxBody        = 2 * maxContent // JSON needs escapes
	requestTimeout = 10 * time.Second
)

// service answers requests.
type service struct {
	pool     *pgdbm.Pool
	keys     *auth
	mem      *llmemory.Memory
	docs     *processor.Processor
	log      *slog.Logger
	draining atomic.Bool
}

// handler has the operational end points, which need no key and belong behind the proxy, and those of the tenants.
func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /stats/pool", s.poolStats)
	mux.Handle("POST /documents", s.tenant(s.addDocument))
	mux.Handle("GET /search", s.tenant(s.search))
	mux.Handle("POST /process", s.tenant(s.process))
	return mux
}

// healthz says that the process is alive. It asks nobody: a database that is away is no reason to restart the process.
func (s *service) healthz(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") }

// readyz says whether requests are welcome.
func (s *service) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	switch {
	case s.draining.Load():
		reply(w, http.StatusServiceUnavailable, "stopping")
	case s.pool.Ping(ctx) != nil:
		reply(w, http.StatusServiceUnavailable, "no database")
	default:
		reply(w, http.StatusOK, "ready")
	}
}

// poolStats feeds monitoring. A WaitSeconds that keeps growing says that MaxConns is too small, or that connections are held too long.
func (s *service) poolStats(w http.ResponseWriter, _ *http.Request) {
	stats := s.pool.Stats()
	reply(w, http.StatusOK, map[string]any{
		"max": stats.Max, "in_use": stats.InUse, "idle": stats.Idle,
		"acquires": stats.Acquires, "waits": stats.Waits, "wait_seconds": stats.WaitTime.Seconds(),
	})
}

// tenant wraps a request of an owner. The owner comes from the API key alone; nothing that the body or the query says can change it.
func (s *service) tenant(handle func(r *http.Request, owner string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)

		key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		owner, err := "", errUnknownKey
		if ok {
			owner, err = s.keys.owner(ctx, key)
		}
		var answer any
		if err == nil {
			answer, err = handle(r, owner)
		}
		status, message := outcome(err)
		level := slog.LevelInfo
		if status >= 500 {
			level = slog.LevelError
		}
		s.log.Log(ctx, level, "request", "method", r.Method, "path", r.URL.Path, "owner", owner, "status", status,
			"took", time.Since(started), "error", err)
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		if err != nil {
			answer = map[string]string{"error": message}
		}
		reply(w, status, answer)
	})
}

// errBadRequest wraps what is wrong with a request before llmemory sees it.
var errBadRequest = errors.New("bad request")

// outcome maps an error to a status and to what the client is told. It is the only place that does. What went wrong inside stays
// inside.
func outcome(err error) (status int, message string) {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return http.StatusOK, ""
	case errors.Is(err, errUnknownKey):
		return http.StatusUnauthorized, err.Error()
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, err.Error()
	case errors.Is(err, errBadRequest), errors.Is(err, llmemory.ErrInvalid):
		return http.StatusBadRequest, err.Error()
	case errors.Is(err, llmemory.ErrNotFound):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, llmemory.ErrConflict):
		return http.StatusConflict, err.Error()
	case errors.Is(err, llmemory.ErrUnavailable), errors.Is(err, llmemory.ErrCommitUnknown), errors.Is(err, llmemory.ErrClosed),
		errors.Is(err, pgdbm.ErrPoolExhausted), pgdbm.IsConnection(err):
		return http.StatusServiceUnavailable, "unavailable, try again"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusGatewayTimeout, "not done in time"
	}
	return http.StatusInternalServerError, "internal error"
}

type addRequest struct {
	Origin   string            `json:"origin"`
	Key      string            `json:"key"`
	Name     string            `json:"name"`
	Type     llmemory.Type     `json:"type"`
	Content  string            `json:"content"`
	Metadata map[string]any    `json:"metadata"`
	IfExists llmemory.IfExists `json:"if_exists"`
}

type addAnswer struct {
	DocumentID string          `json:"document_id"`
	Status     llmemory.Status `json:"status"`
	Chunks     int             `json:"chunks"`
}

func (s *service) addDocument(r *http.Request, owner string) (any, error) {
	var in addRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	added, err := s.mem.Owner(owner).Add(r.Context(), llmemory.Document{
		OriginID: in.Origin, Key: in.Key, Name: in.Name, Type: in.Type, Content: in.Content, Metadata: in.Metadata,
		IfExists: in.IfExists,
	})
	if err != nil {
		return nil, err
	}
	return addAnswer{DocumentID: added.DocumentID, Status: added.Status, Chunks: added.Chunks}, nil
}

type hitAnswer struct {
	DocumentID string  `json:"document_id"`
	Name       string  `json:"name"`
	Score      float64 `json:"score"`
	Snippet    string  `json:"snippet"`
}

func (s *service) search(r *http.Request, owner string) (any, error) {
	query := r.URL.Query()
	options := &llmemory.SearchOptions{Where: llmemory.Where{Origins: query["origin"]}}
	if limit := query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil {
			return nil, errors.Join(errBadRequest, errors.New("limit is not a number"))
		}
		options.Limit = n
	}
	found, err := s.mem.Owner(owner).Search(r.Context(), query.Get("q"), options)
	if err != nil {
		return nil, err
	}
	hits := make([]hitAnswer, len(found.Hits))
	for i, h := range found.Hits {
		hits[i] = hitAnswer{DocumentID: h.DocumentID, Name: h.Document.Name, Score: h.Score, Snippet: h.Snippet}
	}
	return map[string]any{"hits": hits}, nil
}

type processRequest struct {
	User     string `json:"user"`
	Filename string `json:"filename"`
	Content  string `json:"content"`
}

func (s *service) process(r *http.Request, owner string) (any, error) {
	var in processRequest
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	out, err := s.docs.Process(r.Context(), processor.Input{
		Workspace: owner, User: in.User, Filename: in.Filename, Content: in.Content,
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"document_id": out.DocumentID, "status": out.Status, "title": out.Title, "words": out.Words}, nil
}

// decode reads exactly one JSON value whose every field is known: a misspelt field, or an owner in the body, is an error rather
// than ignored.
func decode(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return errors.Join(errBadRequest, err)
	}
	if dec.More() {
		return errors.Join(errBadRequest, errors.New("more than one JSON value"))
	}
	return nil
}

// reply writes an answer. An error means that the client has gone, which is no concern of ours.
func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}
