package pgtest

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Dump returns the schema of the database as pg_dump --schema-only prints it,
// without the lines that differ from run to run (versions, \restrict keys).
// Two dumps are equal if nothing was created, altered or dropped between them;
// with further arguments of pg_dump, such as --exclude-schema=app, nothing
// outside a schema.
//
// Where PGTEST_URL names a server newer than the pg_dump that is installed, the
// test fails.
func Dump(tb testing.TB, databaseURL string, args ...string) string {
	tb.Helper()
	bin, err := bindir("postgres", "pg_dump")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), filepath.Join(bin, "pg_dump"),
		append([]string{"--schema-only", "--dbname=" + databaseURL}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("pgtest: pg_dump: %v\n%s", err, stderr.String())
	}
	return normaliseDump(string(out))
}

// normaliseDump drops comments, blank lines and pg_dump's own psql commands.
func normaliseDump(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		switch {
		case strings.TrimSpace(line) == "",
			strings.HasPrefix(line, `\restrict `), strings.HasPrefix(line, `\unrestrict `),
			strings.HasPrefix(line, "-- Dumped "), strings.HasPrefix(line, "--\n"):
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}
