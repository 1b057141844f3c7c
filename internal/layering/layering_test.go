// Package layering holds the test that keeps imports going downwards.
package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/llmemory/llmemory"

// layers lists every package, bottom up: a package imports only packages of
// lower lines. A name that ends in /... stands for the packages below it. A new
// package is entered here in the change that makes it; its line is a decision.
var layers = [][]string{
	0: {
		"internal/analysis", "internal/apierror", "internal/badserver", "internal/bm25", "internal/bpe", "internal/fusion", "internal/httpapi", "internal/migrate",
		"internal/modelfile", "internal/nn", "internal/postings", "internal/sqlfile", "internal/steady", "internal/vec", "internal/vecset", "internal/wordpiece",
		"internal/cfb", "internal/cfb/cfbtest", "internal/charset", "internal/fault", "internal/safezip",
		"internal/docmeta", "internal/mdtext", "internal/xmlwalk",
		"eval/smallset", "internal/gotest", "internal/layering", "internal/pgproxy", "internal/soak",
	},
	1: {"chunk", "embedding", "eval", "expand", "extract", "internal/htmltext", "internal/vecscan", "llm", "pgdbm", "rerank"},
	2: {"internal/ooxml", "internal/sheet"},
	3: {"contextual", "embedding/...", "expand/...", "extract/...", "llm/...", "pgdbm/pgtest", "rerank/..."},
	4: {"."},
	5: {"internal/evaluate", "store/storetest"},
	6: {"store/postgres", "store/sqlite"},
	7: {"httpserver", "llmemorytest", "mcpserver", "transfer"},
	8: {"internal/cli", "internal/equality"},
	9: {"cmd/llmemory", "examples/...", "internal/bench", "internal/embedserver", "internal/evaltable", "internal/extracttable", "internal/mailcheck", "internal/pgrun"},
}

// sideways are the imports within one layer that are meant: an example of a
// host uses the library that another example builds.
var sideways = map[[2]string]bool{
	{"examples/production_integration", "examples/document_processor"}: true,
	{"examples/shared_pool", "examples/document_processor"}:            true,
	{"extract/sandbox", "extract/html"}:                                true,
	{"extract/sandbox", "extract/pdf"}:                                 true, // a child knows by itself the formats it is there for
}

// assemblies put together the packages below a folder of their own layer.
var assemblies = map[string]string{"extract/all": "extract/"}

// vocabulary are leaves of words alone, which other leaves may use.
var vocabulary = []string{"internal/apierror", "internal/fault"}

// meant tells whether an import within a layer is meant.
func meant(from, to string) bool {
	folder, ok := assemblies[from]
	return sideways[[2]string{from, to}] || ok && strings.HasPrefix(to, folder) || slices.Contains(vocabulary, to)
}

// testOnly are packages that help tests; the tests of any lower package may
// import them too, programs may not.
var testOnly = []string{"pgdbm/pgtest", "internal/pgproxy", "internal/soak", "internal/vecset", "store/storetest", "llmemorytest", "embedding/embedtest", "llm/llmtest", "internal/badserver", "extract/extracttest", "internal/cfb/cfbtest"}

// testPrograms are the only programs outside tests that may import testOnly.
var testPrograms = []string{"internal/bench", "internal/embedserver", "internal/pgrun"}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, fault := range check(list(t)) {
		t.Error(fault)
	}
}

// list returns the packages of the module.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	return pkgs
}

// check returns the faults of the packages, in their order.
func check(pkgs []pkg) []string {
	var faults []string
	for _, p := range pkgs {
		name := short(p.ImportPath)
		from, ok := layerOf(name)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s has no layer: enter it in layers, on the lowest line it can live on", name))
			continue
		}
		for _, dep := range p.Imports {
			if to, ours := layerOf(short(dep)); ours && dep != p.ImportPath {
				if to >= from && !meant(name, short(dep)) {
					faults = append(faults, fmt.Sprintf("%s (layer %d) imports %s (layer %d): imports go down", name, from, short(dep), to))
				}
				if slices.Contains(testOnly, short(dep)) && !slices.Contains(testOnly, name) && !slices.Contains(testPrograms, name) {
					faults = append(faults, fmt.Sprintf("%s imports %s outside its tests", name, short(dep)))
				}
			}
		}
		tests := p.TestImports
		if name != "." { // the examples of the root are whole programs: a store, a provider, the root
			tests = slices.Concat(tests, p.XTestImports)
		}
		for _, dep := range tests {
			if to, ours := layerOf(short(dep)); ours && dep != p.ImportPath && to >= from &&
				!slices.Contains(testOnly, short(dep)) && !meant(name, short(dep)) {
				faults = append(faults, fmt.Sprintf("a test of %s (layer %d) imports %s (layer %d): imports go down", name, from, short(dep), to))
			}
		}
		if name == "." {
			faults = append(faults, checkRoot(p)...)
		}
	}
	return faults
}

// checkRoot keeps a user's program free of what it does not name: the root
// reaches no provider, no store and no database driver, by whatever way.
func checkRoot(root pkg) []string {
	var faults []string
	for _, dep := range root.Deps {
		name := short(dep)
		to, ours := layerOf(name)
		switch {
		case strings.HasPrefix(dep, "github.com/jackc/pgx"), dep == "database/sql":
			faults = append(faults, "the root depends on "+dep)
		case ours && (to >= 2 || name == "pgdbm"):
			faults = append(faults, "the root depends on "+name)
		}
	}
	return faults
}

// short is the path below the module, "." for its root and the whole path for
// packages of others.
func short(importPath string) string {
	if importPath == module {
		return "."
	}
	// Tests of package p may be listed with imports such as "p [p.test]".
	importPath, _, _ = strings.Cut(importPath, " ")
	return strings.TrimPrefix(importPath, module+"/")
}

// layerOf finds the line of a package of the module.
func layerOf(name string) (layer int, ok bool) {
	for layer, names := range layers {
		if slices.Contains(names, name) {
			return layer, true
		}
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		for layer, names := range layers {
			if slices.Contains(names, dir+"/...") {
				return layer, true
			}
		}
	}
	return 0, false
}

func TestCheckFindsFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		pkg  pkg
		want string // "" for none
	}{
		{"down", pkg{ImportPath: module + "/store/postgres", Imports: []string{"fmt", module, module + "/pgdbm"}}, ""},
		{"up", pkg{ImportPath: module + "/chunk", Imports: []string{module + "/internal/cli"}}, "imports go down"},
		{"sideways", pkg{ImportPath: module + "/chunk", Imports: []string{module + "/extract"}}, "imports go down"},
		{"sideways between providers", pkg{ImportPath: module + "/extract/pdf", Imports: []string{module + "/extract/html"}}, "imports go down"},
		{"sideways on purpose", pkg{ImportPath: module + "/examples/shared_pool", Imports: []string{module + "/examples/document_processor"}}, ""},
		{"unknown", pkg{ImportPath: module + "/util"}, "has no layer"},
		{"test up", pkg{ImportPath: module + "/chunk", XTestImports: []string{module + "/store/sqlite"}}, "imports go down"},
		{"example of the root", pkg{ImportPath: module, XTestImports: []string{module + "/store/postgres"}}, ""},
		{"test with a helper from above", pkg{ImportPath: module + "/pgdbm", XTestImports: []string{module + "/pgdbm", module + "/pgdbm/pgtest"}}, ""},
		{"program with a test helper", pkg{ImportPath: module + "/internal/cli", Imports: []string{module + "/pgdbm/pgtest"}}, "outside its tests"},
		{"root with a driver", pkg{ImportPath: module, Deps: []string{"github.com/jackc/pgx/v5/pgconn"}}, "the root depends on"},
		{"root with a provider", pkg{ImportPath: module, Deps: []string{module + "/embedding/openai"}}, "the root depends on"},
		{"root with pgdbm", pkg{ImportPath: module, Deps: []string{module + "/pgdbm"}}, "the root depends on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(check([]pkg{tt.pkg}), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("faults = %q, want %q", got, tt.want)
			}
		})
	}
}
