package migrate_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/llmemory/llmemory/internal/migrate"
)

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }

func TestLoad(t *testing.T) {
	t.Parallel()
	files, err := migrate.Load(fstest.MapFS{
		"10_ten.sql":          file("-- pgdbm:no-transaction\r\nSELECT 10"),
		"9_nine.sql":          file("\ufeffSELECT 9"),
		"9_nine.down.sql":     file(" -- pgdbm:no-transaction is not on the first line alone"),
		"README.md":           file(""),
		"sub/1_elsewhere.sql": file(""),
	})
	if err != nil {
		t.Fatal(err)
	}
	nine := migrate.Checksum("SELECT 9")
	down := migrate.Script{
		Path: "9_nine.down.sql", Text: " -- pgdbm:no-transaction is not on the first line alone",
		Checksum: migrate.Checksum("-- pgdbm:no-transaction is not on the first line alone"),
	}
	want := []migrate.File{
		{Version: 9, Name: "nine", Up: migrate.Script{Path: "9_nine.sql", Text: "SELECT 9", Checksum: nine}, Down: &down},
		{Version: 10, Name: "ten", Up: migrate.Script{
			Path: "10_ten.sql", Text: "-- pgdbm:no-transaction\r\nSELECT 10",
			Checksum: migrate.Checksum("-- pgdbm:no-transaction\nSELECT 10\n"), NoTransaction: true,
		}},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	// sha256 of the text, so that the meaning of stored checksums cannot drift.
	if want := "e004ebd5b5532a4b85984a62f8ad48a81aa3460c1ca07701f386135d72cdecf5"; migrate.Checksum(" SELECT 1\r\n") != want {
		t.Errorf("checksum is %s", migrate.Checksum(" SELECT 1\r\n"))
	}
}

func TestLoadReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := migrate.Load(fstest.MapFS{
		"0_zero.sql":                 file(""),
		"1_a.sql":                    file(""),
		"01_b.sql":                   file(""),
		"1_other.down.sql":           file(""),
		"2_bytes.sql":                file("\xff"),
		"3.sql":                      file(""),
		"4_.sql":                     file(""),
		"5_a b.sql":                  file(""),
		"99999999999999999999_x.sql": file(""),
		"V6__flyway.sql":             file(""),
		"7_x.down.sql":               file(""),
	})
	want := `invalid migration files: 0_zero.sql: version 0 is out of range
1_a.sql: version 1 is already used by 01_b.sql
1_other.down.sql: its name differs from that of 01_b.sql
2_bytes.sql: the content is not valid UTF-8
3.sql: the name is not of the form NNN_name.sql or NNN_name.down.sql
4_.sql: the name is not of the form NNN_name.sql or NNN_name.down.sql
5_a b.sql: the name holds ' '; letters, digits, _ and - are allowed
7_x.down.sql: there is no version 7 to undo
99999999999999999999_x.sql: version 99999999999999999999 is out of range
V6__flyway.sql: the name does not start with a number and an underscore`
	if !errors.Is(err, migrate.ErrFiles) {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if _, err := migrate.Load(fstest.MapFS{"x.txt": file("")}); !errors.Is(err, migrate.ErrFiles) {
		t.Errorf("no migration: %v", err)
	}
}
