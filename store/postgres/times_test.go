package postgres

import (
	"regexp"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/llmemory/llmemory"
	"github.com/llmemory/llmemory/embedding"
	"github.com/llmemory/llmemory/pgdbm/pgtest"
)

// TestNoStatementTakesATime has the database say of every statement what its parameters are: none is a point in time but the date that a
// document bears, and those that it brings along from another store. So all that is due, leased, created or changed is so by the clock of the database, whatever the clocks of programs say.
func TestNoStatementTakesATime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	store, err := Open(ctx, pgtest.URL(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.AddGeneration(ctx, llmemory.AddGenerationParams{
		Model: embedding.ModelInfo{Provider: "test", Model: "m", Dimensions: 4}, Profile: llmemory.Balanced,
	}); err != nil {
		t.Fatal(err)
	}
	g, err := store.generation(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := store.db.Pool().Pgx().Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	times := []uint32{
		pgtype.TimestamptzOID, pgtype.TimestamptzArrayOID, pgtype.TimestampOID, pgtype.TimestampArrayOID, pgtype.DateOID, pgtype.DateArrayOID,
		pgtype.TimeOID, pgtype.TimetzOID,
	}
	unfinished := regexp.MustCompile(`/\*\w+\*/|CREATE|ALTER|DROP`) // has parts that are put in later, or takes no parameters
	meant := map[string][]int{"insert_documents": {7}, "put_documents": {7}, "restore_documents": {7, 23, 24},
		"begin_run": {5}, "put_run": {5}} // when a run began by its program's clock is shown, and compared with nothing
	dated, looked := 0, 0
	for _, name := range store.sql.Names() {
		sql, err := store.db.Render(store.on(g, name))
		if err != nil {
			t.Fatal(err)
		}
		d, err := conn.Conn().PgConn().Prepare(ctx, "", sql, nil)
		if err != nil {
			if !unfinished.MatchString(sql) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		looked++
		for i, oid := range d.ParamOIDs {
			if !slices.Contains(times, oid) {
				continue
			}
			if !slices.Contains(meant[name], i+1) {
				t.Errorf("%s: $%d is a point in time", name, i+1)
			}
			dated++
		}
	}
	if dated != 7 || looked < 50 {
		t.Errorf("%d dates of documents in %d statements", dated, looked)
	}
}
