package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// TestMain runs the program itself when a test started this binary as such.
func TestMain(m *testing.M) {
	if os.Getenv("PRODUCTION_INTEGRATION_TEST") == "program" {
		main()
		return
	}
	os.Exit(pgtest.Main(m))
}

// client calls the service with an API key.
type client struct {
	t    *testing.T
	base string
	key  string
}

// do returns the status and the decoded answer.
func (c client) do(method, path, body string) (int, map[string]any) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var answer any
	if err := json.Unmarshal(raw, &answer); err != nil {
		c.t.Fatalf("%s %s: %d %q: %v", method, path, res.StatusCode, raw, err)
	}
	if text, ok := answer.(string); ok {
		answer = map[string]any{"text": text}
	}
	return res.StatusCode, answer.(map[string]any)
}

// names returns the documents that a search finds.
func (c client) names(query string) []string {
	c.t.Helper()
	status, answer := c.do("GET", "/search?"+query, "")
	if status != http.StatusOK {
		c.t.Fatalf("search %s: %d %v", query, status, answer)
	}
	var names []string
	for _, h := range answer["hits"].([]any) {
		names = append(names, h.(map[string]any)["name"].(string))
	}
	return names
}

// logBuffer is a log that may be written and read at once.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs the service in this process and returns its base URL and a function that stops it.
func start(t *testing.T, url string, notice time.Duration, log io.Writer) (base string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := config{
		databaseURL: url, listen: "127.0.0.1:0", notice: notice, drain: 10 * time.Second,
		keys: map[string]string{"key-1": "team-1", "key-2": "team-2"},
	}
	address, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, c, slog.New(slog.NewTextHandler(log, nil)), func(a net.Addr) { address <- a })
	}()
	select {
	case a := <-address:
		return "http://" + a.String(), func() error { cancel(); return <-ended }
	case err := <-ended:
		cancel()
		t.Fatalf("the service did not start: %v", err)
		return "", nil
	}
}

func TestService(t *testing.T) {
	url := pgtest.URL(t)
	before := goleak.IgnoreCurrent()
	log := &logBuffer{}
	base, stop := start(t, url, 0, log)
	one, two, nobody := client{t, base, "key-1"}, client{t, base, "key-2"}, client{t, base, ""}

	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready"} {
		if status, answer := nobody.do("GET", path, ""); status != http.StatusOK || answer["text"] != want {
			t.Errorf("%s: %d %v, want %q", path, status, answer, want)
		}
	}

	const note = `{"origin": "ann", "name": "note", "content": "The bridge is closed on Monday.", "if_exists": %q}`
	for _, step := range []struct {
		name   string
		as     client
		method string
		path   string
		body   string
		status int
		field  string
		want   any
	}{
		{"no key", nobody, "POST", "/documents", fmt.Sprintf(note, ""), 401, "error", "unknown API key"},
		{"wrong key", client{t, base, "key-3"}, "GET", "/search?q=bridge", "", 401, "error", "unknown API key"},
		{"add", one, "POST", "/documents", fmt.Sprintf(note, ""), 200, "status", "created"},
		{"add again", one, "POST", "/documents", fmt.Sprintf(note, ""), 200, "status", "unchanged"},
		{"refuse", one, "POST", "/documents", fmt.Sprintf(note, "error"), 409, "", nil},
		{"process", one, "POST", "/process", `{"user": "ann", "filename": "report", "content": "Bridges\nBuilt in 1901."}`, 200, "title", "Bridges"},
		{"owner in the body", two, "POST", "/documents", `{"owner": "team-1", "content": "x"}`, 400, "", nil},
		{"two values", one, "POST", "/documents", `{"content": "x"} {}`, 400, "", nil},
		{"no JSON", one, "POST", "/documents", `content=x`, 400, "", nil},
		{"empty content", one, "POST", "/documents", `{"content": " "}`, 400, "", nil},
		{"large content", one, "POST", "/documents", `{"content": "` + strings.Repeat("x ", maxContent/2+1) + `"}`, 400, "", nil},
		{"large body", one, "POST", "/documents", `{"content": "` + strings.Repeat("x ", maxContent+1) + `"}`, 413, "", nil},
		{"no question", one, "GET", "/search", "", 400, "", nil},
		{"bad limit", one, "GET", "/search?q=x&limit=ten", "", 400, "", nil},
		{"limit too large", one, "GET", "/search?q=x&limit=1000000", "", 400, "", nil},
	} {
		status, answer := step.as.do(step.method, step.path, step.body)
		if status != step.status || answer[step.field] != step.want {
			t.Errorf("%s: %d %v, want %d with %s = %v", step.name, status, answer, step.status, step.field, step.want)
		}
	}

	if diff := cmp.Diff([]string{"note"}, one.names("q=bridge")); diff != "" {
		t.Errorf("search (-want +got):\n%s", diff)
	}
	if got := one.names("q=bridge&origin=bob"); got != nil {
		t.Errorf("search of another origin finds %q", got)
	}
	if got := two.names("q=bridge&owner=team-1"); got != nil {
		t.Errorf("another tenant finds %q", got)
	}

	if status, stats := nobody.do("GET", "/stats/pool", ""); status != http.StatusOK || stats["max"] != 20.0 || stats["acquires"].(float64) == 0 {
		t.Errorf("pool statistics: %d %v", status, stats)
	}

	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
	if strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "key-1") {
		t.Errorf("the log has errors or a key:\n%s", log)
	}
}

// A request that is under way when the service is told to stop is answered; readiness has gone by then.
func TestDrain(t *testing.T) {
	url := pgtest.URL(t)
	pool, err := pgdbm.Open(t.Context(), pgdbm.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	base, stop := start(t, url, 0, io.Discard)
	one := client{t, base, "key-1"}
	one.do("POST", "/documents", `{"name": "first", "content": "one"}`) // the owner exists

	// Hold the owner's lock, so that an Add waits.
	tx, err := pool.Schema("llmemory").Begin(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "SELECT FROM {{tables.document_owners}} FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		status, _ := one.do("POST", "/documents", `{"name": "second", "content": "two"}`)
		answered <- status
	}()
	waiting := "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
	for blocked := false; !blocked; {
		if err := pool.Schema("llmemory").QueryRow(t.Context(), waiting).Scan(&blocked); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("the service stopped with a request under way: %v", err)
	default:
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request under way got %d", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// Load balancers are told before the service stops listening.
func TestNotice(t *testing.T) {
	base, stop := start(t, pgtest.URL(t), 500*time.Millisecond, io.Discard)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for ready := true; ready; {
		status, answer := client{t, base, ""}.do("GET", "/readyz", "")
		ready = status == http.StatusOK
		if !ready && (status != http.StatusServiceUnavailable || answer["text"] != "stopping") {
			t.Errorf("readyz: %d %v", status, answer)
		}
	}
	if status, _ := (client{t, base, ""}).do("GET", "/healthz", ""); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// SIGTERM ends the program with exit code 0.
func TestSIGTERM(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "PRODUCTION_INTEGRATION_TEST=program", "DATABASE_URL="+pgtest.URL(t),
		"API_KEYS=key-1=team-1", "LISTEN=127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var messages []string
	for dec := json.NewDecoder(stderr); ; {
		var line struct{ Msg, Address string }
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if line.Msg != "migration applied" {
			messages = append(messages, line.Msg)
		}
		if line.Msg == "ready" {
			if status, answer := (client{t, "http://" + line.Address, "key-1"}).do("GET", "/search?q=anything", ""); status != http.StatusOK {
				t.Errorf("search: %d %v", status, answer)
			}
			http.DefaultClient.CloseIdleConnections()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
	want := []string{"ready", "request", "stopping"}
	if diff := cmp.Diff(want, messages); diff != "" {
		t.Errorf("log messages (-want +got):\n%s", diff)
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
	}{
		{nil, 200},
		{fmt.Errorf("x: %w", errUnknownKey), 401},
		{errors.Join(errBadRequest, errors.New("x")), 400},
		{errors.Join(errBadRequest, &http.MaxBytesError{Limit: 1}), 413},
		{&llmemory.InvalidError{Field: "query", Rule: "must not be empty"}, 400},
		{fmt.Errorf("x: %w", llmemory.ErrNotFound), 404},
		{&llmemory.ConflictError{}, 409},
		{&llmemory.UnavailableError{What: "database"}, 503},
		{fmt.Errorf("x: %w", llmemory.ErrCommitUnknown), 503},
		{fmt.Errorf("x: %w", llmemory.ErrClosed), 503},
		{fmt.Errorf("x: %w", pgdbm.ErrPoolExhausted), 503},
		{context.DeadlineExceeded, 504},
		{llmemory.ErrCorrupt, 500},
		{errors.New("secret of the inside"), 500},
	} {
		status, message := outcome(c.err)
		if status != c.status || strings.Contains(message, "secret") {
			t.Errorf("%v: %d %q, want %d", c.err, status, message, c.status)
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	t.Parallel()
	env := func(keys string) func(string) string {
		return func(name string) string { return map[string]string{"API_KEYS": keys, "DATABASE_URL": "db"}[name] }
	}
	got, err := configFromEnv(env("a=x,b=y=z"))
	want := config{databaseURL: "db", listen: "localhost:8080", keys: map[string]string{"a": "x", "b": "y=z"}, drain: 20 * time.Second}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := configFromEnv(func(string) string { return "1=soon" }); err == nil {
		t.Error("SHUTDOWN_NOTICE=soon is accepted")
	}
	for _, bad := range []string{"", "secret", "=x", "secret=", "a=x,"} {
		if _, err := configFromEnv(env(bad)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("API_KEYS=%q: error %v, want one without the key", bad, err)
		}
	}
}
