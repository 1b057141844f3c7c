// Package pgtest gives every test a PostgreSQL database of its own.
//
// The smallest use is one call; the database is empty, belongs to the test
// alone, and is dropped when the test ends:
//
//	func TestStore(t *testing.T) {
//		pool, err := pgxpool.New(t.Context(), pgtest.URL(t))
//		…
//	}
//
// Where each test needs the same tables, [Clone] migrates a template once per
// server and copies it for each test, which takes about 0.2 s however long the
// migrations are.
//
// # The server
//
// If the environment variable PGTEST_URL names a server, that one is used. It
// must be a URL of a role that may create databases and roles (a superuser, if
// the tests create extensions), and several test processes may share it.
//
// Otherwise the first call starts a private cluster with the newest PostgreSQL
// that is installed. It listens on a Unix socket in a private folder only, asks
// for no password, does not sync to disk, and lives until the test process
// ends, however it ends: a small supervisor holds the reading end of a pipe,
// and stops and removes the cluster when the other end is closed. Nothing is
// left behind after a panic, a timeout or a kill -9. On Linux it lives in memory
// if there is plenty (/dev/shm), unless TMPDIR names another place. Running as
// root is fine: the cluster then runs as user postgres, or as nobody where there
// is no postgres.
//
// Where no PostgreSQL is installed the test fails and says what to install;
// pgtest never skips.
//
// # TestMain
//
// [Main] is optional. It stops the private cluster before the process ends, so
// that the exit of the process and the end of the cluster coincide:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// # Databases of dead runs
//
// Each process keeps one connection open on the server, named after the
// process, and its databases carry the same name. A database whose process no
// longer has its connection is dropped by the next process that starts. A test
// that terminates the connections of a shared server should therefore restrict
// itself to its own database; for rougher tests [Start] makes a server that can
// be crashed and resumed at will, and [Server.Replica] a streaming replica of it
// that can lag, lose its primary and be promoted.
package pgtest
