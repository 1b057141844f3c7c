package pgdbm

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/llmemory/llmemory/internal/sqlfile"
)

// Extension is what the server knows of an extension.
type Extension struct {
	// Schema is where its types, functions and operators live; "" if it is not
	// installed in this database. Qualify them with it: search_path may not
	// contain it.
	Schema string
	// Version is the installed version; "" if it is not installed.
	Version string
	// Available is the version that CREATE EXTENSION would install; "" if the
	// server does not have the extension at all.
	Available string
}

// Extension looks an extension up, in whatever schema it is. One that is
// missing is no error.
func (p *Pool) Extension(ctx context.Context, name string) (Extension, error) {
	var e Extension
	// The handle's schema plays no part: the statement has no tags.
	err := p.Schema("pg_catalog").QueryRow(ctx, `SELECT COALESCE(n.nspname::text, ''), COALESCE(e.extversion, ''), COALESCE(a.default_version, '')
FROM (SELECT $1::text AS name) AS want
LEFT JOIN pg_catalog.pg_extension e ON e.extname = want.name
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = want.name`, name).Scan(&e.Schema, &e.Version, &e.Available)
	return e, err
}

// RequireExtension returns an extension that is installed in at least the
// given version ("" for any), or an error that wraps [ErrExtension] and says
// what to install and which SQL to run, and by whom. It changes nothing.
func (p *Pool) RequireExtension(ctx context.Context, name, minVersion string) (Extension, error) {
	e, err := p.Extension(ctx, name)
	if err != nil {
		return e, err
	}
	quoted := sqlfile.Quote(name)
	enough := func(version string) bool { return compareVersions(version, minVersion) >= 0 }
	switch {
	case e.Version != "" && enough(e.Version):
		return e, nil
	case e.Version != "" && e.Available != "" && enough(e.Available):
		err = fmt.Errorf("%w %s has version %s here, at least %s is needed; its owner or a superuser can run: ALTER EXTENSION %s UPDATE",
			ErrExtension, quoted, e.Version, minVersion, quoted)
	case e.Version != "":
		err = fmt.Errorf("%w %s has version %s here, at least %s is needed, and the server offers %s; install a newer package on the server, then run as a superuser: ALTER EXTENSION %s UPDATE",
			ErrExtension, quoted, e.Version, minVersion, orNone(e.Available), quoted)
	case e.Available != "" && enough(e.Available):
		err = fmt.Errorf("%w %s is not installed in this database; a superuser can run: CREATE EXTENSION %s", ErrExtension, quoted, quoted)
	case e.Available != "":
		err = fmt.Errorf("%w %s is not installed in this database, and the server offers version %s where at least %s is needed; install a newer package on the server, then run as a superuser: CREATE EXTENSION %s",
			ErrExtension, quoted, e.Available, minVersion, quoted)
	default:
		err = fmt.Errorf("%w %s is unknown to the server; install its package on the server's machine, then run as a superuser: CREATE EXTENSION %s",
			ErrExtension, quoted, quoted)
	}
	return e, fmt.Errorf("pgdbm: %w", err)
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}

// compareVersions compares dotted version numbers: 0.10 is above 0.9. Parts
// that are no numbers count as 0, a missing part as 0 too.
func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		if d := versionPart(as, i) - versionPart(bs, i); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(parts []string, i int) int {
	if i >= len(parts) {
		return 0
	}
	digits := parts[i]
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}
