package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestRun(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	const hit = "plan.txt: The project starts in March. The first release is planned for the end of June."
	for _, status := range []string{"created", "unchanged"} { // running it again does no harm
		var out strings.Builder
		if err := run(t.Context(), url, &out); err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for i := range got {
			got[i] = regexp.MustCompile(`^0\.\d\d `).ReplaceAllString(got[i], "")
		}
		want := []string{"plan.txt: " + status, "kitchen.txt: " + status, hit}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	}
}

func TestRunWithoutDatabase(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := run(t.Context(), "postgres://localhost:1/none?connect_timeout=1&sslmode=sideways", &out)
	if err == nil || out.Len() > 0 {
		t.Errorf("error %v, output %q; want an error and no output", err, out.String())
	}
}
