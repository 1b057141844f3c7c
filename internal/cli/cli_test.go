package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs the program on a database and returns its exit code and what it printed.
func run(t *testing.T, url string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errs, env(url))
	return code, out.String(), errs.String()
}

func env(url string) func(string) string {
	return func(name string) string {
		if name == "LLMEMORY_DB" {
			return url
		}
		return ""
	}
}

func count(t *testing.T, url, query string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var n int
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{fmt.Errorf("x: %w", llmemory.ErrNotFound), 3},
		{&llmemory.InvalidError{Field: "owner"}, 2},
		{&llmemory.ConflictError{}, 1},
		{&llmemory.UnavailableError{What: "database"}, 1},
		{usagef("x"), 2},
		{&partlyError{"x"}, 4},
		{fmt.Errorf("x: %w", context.Canceled), 130},
		{errors.Join(context.Canceled, llmemory.ErrNotFound), 130},
		{context.DeadlineExceeded, 1},
	}
	for _, test := range tests {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
	}
}

// cancelling is a writer that cancels a context as soon as a text is written.
type cancelling struct {
	bytes.Buffer
	when   string
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	n, err := c.Buffer.Write(p)
	if strings.Contains(c.String(), c.when) {
		c.cancel()
	}
	return n, err
}

func TestInterruptedAdd(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	path := write(t, "a.txt", "Text.")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a fault shows as no document, not as a test that hangs
	defer cancel()
	stdin, never := io.Pipe()
	defer never.Close()
	stdout := &cancelling{when: "created", cancel: cancel}
	var stderr bytes.Buffer
	if code := Main(ctx, []string{"add", path, "-"}, stdin, stdout, &stderr, env(url)); code != 130 {
		t.Errorf("exit code %d, want 130: %s", code, stderr.String())
	}
	if !strings.Contains(stderr.String(), "1 created") || !strings.HasSuffix(stderr.String(), "llmemory: interrupted\n") {
		t.Errorf("standard error: %s", stderr.String())
	}
	if n := count(t, url, "SELECT count(*) FROM documents"); n != 1 {
		t.Errorf("%d documents, want 1", n)
	}
}

// What Ctrl-C leaves of a folder are whole documents, each told of, and a second run adds the rest.
func TestInterruptedFolder(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	const files = 4 * bareDocuments
	dir := manyFiles(t, files)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &cancelling{when: `"status":"created"`, cancel: cancel}
	var stderr bytes.Buffer
	if code := Main(ctx, []string{"add", "--json", dir}, strings.NewReader(""), stdout, &stderr, env(url)); code != 130 {
		t.Errorf("exit code %d, want 130: %s", code, stderr.String())
	}
	told := strings.Count(stdout.String(), `"status":"created"`)
	if told == 0 || told == files || told != strings.Count(stdout.String(), "\n") {
		t.Errorf("%d of %d documents told of: %s", told, files, stdout.String())
	}
	if want := fmt.Sprintf("llmemory: %d created, 0 updated, 0 unchanged, 0 failed, 0 skipped\n"+
		"llmemory: what was stored stays; the same command goes on from there\nllmemory: interrupted\n", told); stderr.String() != want {
		t.Errorf("standard error %q, want %q", stderr.String(), want)
	}
	const half = `SELECT count(*) FROM documents d WHERE leaves <> (SELECT count(*) FROM document_chunks c WHERE c.document_id = d.document_id AND level = 0)`
	if n, broken := count(t, url, "SELECT count(*) FROM documents"), count(t, url, half); n != told || broken != 0 {
		t.Errorf("%d documents are stored, %d of them in part; %d were told of", n, broken, told)
	}
	code, out, errs := run(t, url, "add", "--json", dir)
	if n := strings.Count(out, `"status":"created"`); code != 0 || n != files-told {
		t.Errorf("the second run adds %d documents, want %d; exit code %d: %s", n, files-told, code, errs)
	}
	if n := count(t, url, "SELECT count(*) FROM documents"); n != files {
		t.Errorf("%d documents in the end, want %d", n, files)
	}
}

// manyFiles makes a folder of small files.
func manyFiles(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.txt", i)), fmt.Appendf(nil, "Number %d.", i), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An evaluation that is interrupted deletes what it stored.
func TestInterruptedEval(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &cancelling{when: "degraded", cancel: cancel}
	var stdout bytes.Buffer
	code := Main(ctx, []string{"eval", "../../eval/smallset"}, strings.NewReader(""), &stdout, stderr, env(url))
	if code != 130 || stdout.Len() > 0 {
		t.Errorf("exit code %d, want 130; standard output: %s; standard error: %s", code, stdout.String(), stderr.String())
	}
	if n := count(t, url, "SELECT count(*) FROM documents"); n != 0 {
		t.Errorf("%d documents are left", n)
	}
	if n := count(t, url, "SELECT count(*) FROM document_owners"); n != 1 {
		t.Errorf("%d owners stored documents, want 1", n)
	}
}

// broken is a writer that fails, as on a full disk.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestBrokenOutput(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	if code := Main(t.Context(), []string{"version"}, nil, broken{}, &stderr, env("")); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if want := "llmemory: write the output: disk full\n"; stderr.String() != want {
		t.Errorf("standard error %q, want %q", stderr.String(), want)
	}
}

// unreadable is a folder in which one file and one folder cannot be read.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	if name == "bad.txt" || name == "locked" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func (u unreadable) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == "locked" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.ReadDir(name)
}

func TestUnreadableInFolder(t *testing.T) {
	t.Parallel()
	folder := unreadable{fstest.MapFS{
		"bad.txt":       {Data: []byte("x")},
		"good.txt":      {Data: []byte("Good.")},
		"locked/in.txt": {Data: []byte("x")},
		"sub/more.txt":  {Data: []byte("More.")},
	}}
	var g gathered
	g.walk(folder, "docs", "/srv/docs")
	got := map[string]string{}
	for i := range g.files {
		var text []byte
		r, err := openFile(&g.files[i])
		if err == nil {
			text, err = io.ReadAll(r)
		}
		if err != nil {
			text = []byte(err.Error())
		}
		got[g.files[i].key] = string(text)
	}
	want := map[string]string{
		"docs/bad.txt":      "open bad.txt: permission denied",
		"docs/good.txt":     "Good.",
		"docs/locked":       "open locked: permission denied",
		"docs/sub/more.txt": "More.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Batches keep a run of any size small; all documents arrive.
func TestAddManyFiles(t *testing.T) {
	t.Parallel()
	const files = 2*bareDocuments + 3
	dir := manyFiles(t, files)
	url := pgtest.URL(t)
	code, stdout, stderr := run(t, url, "add", "--json", dir)
	if code != 0 || strings.Count(stdout, `"status":"created"`) != files {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for line := range strings.Lines(stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if n := count(t, url, "SELECT count(*) FROM documents"); n != files {
		t.Errorf("%d documents, want %d", n, files)
	}
}

func TestMetaValue(t *testing.T) {
	t.Parallel()
	tests := map[string]any{
		"1": json.Number("1"), "-2.5e3": json.Number("-2.5e3"), "12345678901234567890": json.Number("12345678901234567890"),
		"true": true, "false": false, "null": nil,
		"": "", "one": "one", "01": "01", "1 ": "1 ", " 1": " 1", "1 2": "1 2", `"quoted"`: `"quoted"`, "[1]": "[1]", `{"a":1}`: `{"a":1}`,
		"True": "True", "2024-05-31": "2024-05-31", "1,2": "1,2",
	}
	for text, want := range tests {
		if diff := cmp.Diff(want, metaValue(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	day := time.Date(2024, 5, 31, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		text string
		end  bool
		want time.Time
	}{
		{"", false, time.Time{}},
		{"2024-05-31", false, day},
		{"2024-05-31", true, day.Add(24*time.Hour - time.Microsecond)},
		{"2024-05-31T10:00:00+02:00", false, day.Add(8 * time.Hour)},
		{"2024-05-31T10:00:00.5Z", true, day.Add(10*time.Hour + 500*time.Millisecond)},
	}
	for _, test := range tests {
		got, err := parseDate("date", test.text, test.end)
		if err != nil || !got.Equal(test.want) {
			t.Errorf("%q: %v, %v, want %v", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{"31.5.2024", "2024-02-30", "2024-05-31 10:00", "now"} {
		if _, err := parseDate("date", text, false); !errors.Is(err, errUsage) {
			t.Errorf("%q: error %v, want one of usage", text, err)
		}
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]place{
		"postgres://h/d": {url: "postgres://h/d"}, "postgresql:///d?host=/run": {url: "postgresql:///d?host=/run"},
		"host=/run dbname=x": {url: "host=/run dbname=x"}, "service = app": {url: "service = app"}, "dbname=x": {url: "dbname=x"},
		"memory.db": {path: "memory.db"}, "/var/lib/a=b.db": {path: "/var/lib/a=b.db"}, "postgres": {path: "postgres"}, "a=b": {path: "a=b"},
		"sqlite:a.db": {path: "a.db"}, "sqlite:///var/a.db": {path: "/var/a.db"}, "sqlite:/var/a.db": {path: "/var/a.db"},
	} {
		if got, err := (&app{opts: options{db: text}}).place(); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, o := range []options{
		{db: "mysql://h/secret"}, {db: "http://h/secret"}, {db: "sqlite:"}, {db: "a.db", schema: "x"}, {db: "a.db", readURLs: []string{"postgres://h"}},
		{db: "postgres://h", readURLs: []string{"secret.db"}}, {},
	} {
		if _, err := (&app{opts: o, env: env("")}).place(); !errors.Is(err, errUsage) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: error %v, want one of usage", o, err)
		}
	}
}

func TestDefaultFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"linux", map[string]string{"HOME": "/home/u"}, "/home/u/.local/share/llmemory/memory.db"},
		{"linux", map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "/d"}, "/d/llmemory/memory.db"},
		{"linux", map[string]string{"HOME": "/home/u", "XDG_DATA_HOME": "relative"}, "/home/u/.local/share/llmemory/memory.db"},
		{"darwin", map[string]string{"HOME": "/Users/u", "XDG_DATA_HOME": "/d"}, "/Users/u/Library/Application Support/llmemory/memory.db"},
		{"windows", map[string]string{"LocalAppData": "/u/AppData/Local", "HOME": "/u"}, "/u/AppData/Local/llmemory/memory.db"},
		{"windows", nil, ""},
		{"linux", nil, ""},
	} {
		got, err := defaultFile(c.goos, func(k string) string { return c.env[k] })
		if filepath.ToSlash(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v, want %q", c.goos, c.env, got, err, c.want)
		}
	}
}

// What a document says cannot steer the terminal.
func TestPlain(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"":                        "",
		" a\n\n b\tc ":            "a b c",
		"\x1b[2Jgone\x07\u009b1m": "\ufffd[2Jgone\ufffd\ufffd1m",
		"\u202eevil":              "\ufffdevil",
		"Grüße 你好 👩‍👧":            "Grüße 你好 👩‍👧",
	}
	for text, want := range tests {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHighlight(t *testing.T) {
	t.Parallel()
	text := "Intro. The  starter is\nfed every day, and the oven is lit. End."
	hit := &llmemory.Hit{
		Chunk:      llmemory.Chunk{Text: text},
		Snippet:    "The  starter is\nfed every day, and the oven",
		Highlights: []llmemory.Span{{Start: 0, End: 5}, {Start: 12, End: 19}, {Start: 23, End: 26}, {Start: 46, End: 50}, {Start: 58, End: 61}},
	}
	want := "The \x1b[1mstarter\x1b[0m is \x1b[1mfed\x1b[0m every day, and the \x1b[1moven\x1b[0m"
	if got := highlighted(hit); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestReadYes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"y\n": true, "Yes\n": true, " y ": true, "": false, "n\n": false, "\n": false, "yeah\n": false} {
		if got, err := readYes(t.Context(), strings.NewReader(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe()
	defer w.Close()
	if _, err := readYes(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := &progress{w: &b}
	p.show("%d of %d", 1, 3)
	p.show("%d of %d", 2, 3) // too soon to be seen
	p.clear()
	p.clear()
	if want := "\r\x1b[K1 of 3\r\x1b[K"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	(&progress{}).show("nobody looks")
}

func TestJudgeVector(t *testing.T) {
	t.Parallel()
	tests := []struct {
		extension    pgdbm.Extension
		status       checkStatus
		detail, hint string // parts
	}{
		{pgdbm.Extension{}, checkWarn, "not on the server", "install the package"},
		{pgdbm.Extension{Available: "0.8.4"}, checkWarn, "not in this database", "CREATE EXTENSION vector"},
		{pgdbm.Extension{Schema: "ext", Version: "0.8.4", Available: "0.8.4"}, checkOK, `0.8.4 in schema "ext"`, ""},
		{pgdbm.Extension{Schema: "ext", Version: "0.10.0", Available: "0.10.0"}, checkOK, "0.10.0", ""},
		{pgdbm.Extension{Schema: "ext", Version: "0.8.3", Available: "0.8.3"}, checkWarn, "0.8.3", "upgrade the package"},
		{pgdbm.Extension{Schema: "ext", Version: "0.8.1", Available: "0.9.0"}, checkWarn, "not built in parallel", "run as a superuser: ALTER"},
		{pgdbm.Extension{Schema: "ext", Version: "0.8", Available: "0.8"}, checkWarn, "not built in parallel", "upgrade the package"},
	}
	for _, test := range tests {
		c := judgeVector(test.extension)
		if c.Status != test.status || !strings.Contains(c.Detail, test.detail) || !strings.HasPrefix(c.Hint, test.hint) &&
			!strings.Contains(c.Hint, test.hint) || test.hint == "" && c.Hint != "" {
			t.Errorf("%+v: got %+v", test.extension, c)
		}
	}
}

// A role that holds what "migrate grants" prints can do everything but migrate, and doctor tells what it lacks without it.
func TestGrantedRole(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	if code, _, stderr := run(t, url, "migrate", "up", "--schema", "app"); code != 0 {
		t.Fatal(stderr)
	}
	made := count(t, url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'app'")
	if want := len(tables) + 1; made != want {
		t.Errorf("the schema has %d tables, want %d: those that doctor checks, and schema_migrations", made, want)
	}
	_, grants, _ := run(t, url, "migrate", "grants", "--schema", "app", "--role", "ROLE")
	grants = strings.ReplaceAll(grants, `"ROLE"`, "{role}")
	granted := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{grants}})
	without := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{`GRANT USAGE ON SCHEMA app TO {role}`,
		`GRANT SELECT ON app.schema_migrations TO {role}`, `GRANT SELECT ON app.documents TO {role}`}})

	path := write(t, "a.txt", "Bread and butter.")
	for _, args := range [][]string{{"add", path}, {"search", "bread"}, {"doctor"}, {"stats"}, {"delete", "--all", "--yes"}} {
		if code, stdout, stderr := run(t, granted, append(args, "--schema", "app")...); code != 0 {
			t.Errorf("%v: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
	code, stdout, _ := run(t, without, "doctor", "--schema", "app")
	if code != 1 || !strings.Contains(stdout, "this role may not read and write document_chunks, document_owners, documents, ") {
		t.Errorf("doctor without grants: exit code %d: %s", code, stdout)
	}
	if code, _, stderr := run(t, granted, "add", path, "--schema", "other"); code != 1 || !strings.Contains(stderr, "llmemory migrate up") {
		t.Errorf("a schema that the role may not make: exit code %d: %s", code, stderr)
	}
	code, stdout, _ = run(t, granted, "doctor", "--schema", "other")
	if code != 1 || !strings.Contains(stdout, `"other" does not exist, and this role may not create it`) {
		t.Errorf("doctor without a schema: exit code %d: %s", code, stdout)
	}
}

// Behind row-level security a role may not count what all owners have. Nothing is wrong with that.
func TestDoctorBehindRowSecurity(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"small": 64, "large": 96}})
	defer server.Close()
	embedder := []string{"--openai-base-url", server.URL, "--embedder"}
	for _, args := range [][]string{
		append([]string{"add", write(t, "a.txt", "Bread and butter."), "--schema", "app"}, append(embedder, "openai:small")...),
		{"migrate", "security", "on", "--schema", "app"},
	} {
		if code, _, stderr := run(t, url, args...); code != 0 {
			t.Fatalf("%v: %s", args, stderr)
		}
	}
	_, grants, _ := run(t, url, "migrate", "grants", "--schema", "app", "--role", "ROLE")
	granted := pgtest.Role(t, url, pgtest.RoleOptions{Grants: []string{strings.NewReplacer(`"ROLE"`, "{role}").Replace(grants)}})
	for model, want := range map[string]string{
		"small": "ok    vectors     generation 1, openai:small, 64 dimensions\n",
		"large": "warn  vectors     generation 1, openai:small, 64 dimensions\n" + strings.Repeat(" ", 18) + "searches go by words with this embedder",
	} {
		code, stdout, stderr := run(t, granted, append([]string{"doctor", "--schema", "app"}, append(embedder, "openai:"+model)...)...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s: exit code %d: %s%s", model, code, stdout, stderr)
		}
	}
}
