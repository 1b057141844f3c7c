package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// children are the programs this test binary can be, chosen by PGTEST_CHILD:
// what happens at the end of a process can only be seen from outside it.
var children = map[string]func() int{
	"server":   serverChild,
	"database": databaseChild,
}

// serverChild starts a server, prints its folder and waits to be killed.
func serverChild() int {
	server, err := pgtest.Start(context.Background(), pgtest.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(server.Dir())
	time.Sleep(time.Hour)
	return 0
}

// databaseChild makes a database on the server of PGTEST_URL, prints its name
// and ends without cleaning up: a test binary that was killed.
func databaseChild() int {
	var tb leaker
	url := pgtest.URL(&tb)
	pgtest.Role(&tb, url, pgtest.RoleOptions{})
	config, err := pgx.ParseConfig(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(config.Database)
	return 0
}
