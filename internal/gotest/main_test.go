package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	t.Parallel()
	const passing = `{"Action":"start","Package":"m/a"}
{"Action":"output","Package":"m/a","Output":"-test.shuffle 7\n"}
{"Action":"run","Package":"m/a","Test":"TestA"}
{"Action":"output","Package":"m/a","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"m/a","Test":"TestA"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"}
{"Action":"pass","Package":"m/a"}
`
	tests := []struct {
		name   string
		in     string
		noSkip bool
		loud   bool
		want   string
		code   int
	}{
		{name: "passed", in: passing, noSkip: true, want: "ok  \tm/a\t0.1s\n1 passed, 0 failed, 0 skipped\n"},
		{
			name: "passed, with what it wrote", loud: true,
			in: `{"Action":"run","Package":"m/v","Test":"TestV"}
{"Action":"output","Package":"m/v","Test":"TestV","Output":"=== RUN   TestV\n"}
{"Action":"output","Package":"m/v","Test":"TestV","Output":"    v_test.go:3: measured\n"}
{"Action":"output","Package":"m/v","Test":"TestV","Output":"--- PASS: TestV (0.00s)\n"}
{"Action":"pass","Package":"m/v","Test":"TestV"}
`,
			want: "    v_test.go:3: measured\n--- PASS: TestV (0.00s)\n1 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "no tests",
			in: `{"Action":"output","Package":"m/n","Output":"?   \tm/n\t[no test files]\n"}
{"Action":"skip","Package":"m/n"}
`,
			noSkip: true, want: "?   \tm/n\t[no test files]\n0 passed, 0 failed, 0 skipped\n",
		},
		{
			name: "failed, with the seed that shows it again",
			in: `{"Action":"output","Package":"m/b","Output":"-test.shuffle 9\n"}
{"Action":"output","Package":"m/b","Test":"TestQuiet","Output":"noise\n"}
{"Action":"pass","Package":"m/b","Test":"TestQuiet"}
{"Action":"output","Package":"m/b","Test":"TestB","Output":"=== CONT  TestB\n"}
{"Action":"output","Package":"m/b","Test":"TestB","Output":"    b_test.go:3: wrong\n"}
{"Action":"output","Package":"m/b","Test":"TestB","Output":"--- FAIL: TestB (0.00s)\n"}
{"Action":"fail","Package":"m/b","Test":"TestB"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t0.2s\n"}
{"Action":"fail","Package":"m/b"}
`,
			want: "    b_test.go:3: wrong\n--- FAIL: TestB (0.00s)\n-test.shuffle 9\nFAIL\tm/b\t0.2s\n" +
				"1 passed, 2 failed, 0 skipped\nFAILED  m/b TestB\nFAILED  m/b\n",
			code: 1,
		},
		{
			name: "skipped on a laptop",
			in:   `{"Action":"skip","Package":"m/c","Test":"TestC"}` + "\n",
			want: "0 passed, 0 failed, 1 skipped\nSKIPPED m/c TestC\n",
		},
		{
			name: "skipped where nothing may",
			in:   `{"Action":"skip","Package":"m/c","Test":"TestC"}` + "\n", noSkip: true,
			want: "0 passed, 0 failed, 1 skipped\nSKIPPED m/c TestC\n", code: 1,
		},
		{
			name: "does not build",
			in: `{"ImportPath":"m/d [m/d.test]","Action":"build-output","Output":"d.go:1:1: undefined\n"}
{"ImportPath":"m/d [m/d.test]","Action":"build-fail"}
{"Action":"output","Package":"m/d","Output":"FAIL\tm/d [build failed]\n"}
{"Action":"fail","Package":"m/d","FailedBuild":"m/d [m/d.test]"}
`,
			want: "d.go:1:1: undefined\nFAIL\tm/d [build failed]\n0 passed, 1 failed, 0 skipped\nFAILED  m/d\n", code: 1,
		},
		{
			name: "the binary was killed in a test",
			in:   `{"Action":"output","Package":"m/e","Test":"TestE","Output":"last words\n"}`,
			want: "--- did not end: m/e TestE\nlast words\n0 passed, 1 failed, 0 skipped\nFAILED  m/e TestE\n", code: 1,
		},
		{name: "go's own words", in: "flag provided but not defined\n", want: "flag provided but not defined\n0 passed, 0 failed, 0 skipped\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			code, err := filter(strings.NewReader(tt.in), &out, tt.noSkip, tt.loud)
			if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("exit code = %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}
