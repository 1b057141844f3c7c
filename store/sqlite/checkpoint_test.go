package sqlite_test

import (
	"os"
	"testing"
	"time"

	"github.com/llmemory/llmemory/store/sqlite"
)

// TestCheckpoints has the log worked into the file while the store is open, and bounded while it is written to without a pause.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	store, err := sqlite.Open(t.Context(), path, nil)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	run := func(sql string, args ...any) {
		t.Helper()
		_, err := sqlite.Rows(t.Context(), store, sql, args...)
		must(t, err)
	}
	size := func(path string) int64 {
		info, err := os.Stat(path)
		must(t, err)
		return info.Size()
	}
	const mb = 1 << 20
	run("CREATE TABLE filling (bytes BLOB)")
	const add = "INSERT INTO filling VALUES (zeroblob(?1))"
	run(add, 20*mb)
	for end := time.Now().Add(time.Minute); size(path) < 20*mb; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 MB the file has %d bytes, its log %d", size(path), size(path+"-wal"))
		}
	}
	longest := int64(0)
	for range 25 {
		run(add, 4*mb)
		longest = max(longest, size(path+"-wal"))
	}
	if longest > 80*mb { // where the writer works it in: 64 MB, and some transactions
		t.Errorf("the log grew to %d bytes", longest)
	}
}
