package sqlite_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/llmemory/llmemory/store/sqlite"
)

// acrossOwners are the statements on tables of documents that are about all owners by nature: maintenance, administration, and what
// embedding costs and waits for.
var acrossOwners = []string{"backfill_owner", "backlog", "inputs", "last_chunk", "owners", "progress"}

// TestStatementsOfOneOwner holds every other statement on tables of documents to one owner, in each of its parts.
func TestStatementsOfOneOwner(t *testing.T) {
	t.Parallel()
	set := sqlite.Statements(openAt(t, newPath(t), sqlite.Off))
	reads := regexp.MustCompile(`(?i)\b(?:FROM|JOIN|UPDATE|INTO)\s+"(documents|document_chunks|document_owners|text_segments|text_postings)"`)
	scoped := regexp.MustCompile(`\bowner_id = (\?|[a-z]+\.owner_id)|\(owner_id\b`)
	comment := regexp.MustCompile(`--[^\n]*`)
	for _, name := range set.Names() {
		sql := comment.ReplaceAllString(set.Get(name), "")
		tables, owners := len(reads.FindAllString(sql, -1)), len(scoped.FindAllString(sql, -1))
		switch {
		case slices.Contains(acrossOwners, name):
			if tables == 0 {
				t.Errorf("%s is no statement on tables of documents", name)
			}
		case owners < tables:
			t.Errorf("%s: %d tables of documents, %d conditions on the owner:\n%s", name, tables, owners, sql)
		}
	}
}

// TestStatementsUseIndexes asks for the plan of every statement: none looks at a table row by row that grows with what is stored, but
// the few that count all there is. Nor at all rows of an owner, but those that count, list or choose among them.
func TestStatementsUseIndexes(t *testing.T) {
	t.Parallel()
	store := openAt(t, newPath(t), sqlite.Off)
	set := sqlite.Statements(store)
	all := []string{"backlog", "progress", "progress_vectors"}
	ofOwner := []string{"edit_documents_where", "list", "list_count", "select_leaves", "source_files", "stats", "stats_languages", "stats_types"}
	whole := regexp.MustCompile(`^SEARCH (documents|document_chunks|text_postings|ingest_files|[cdf]) .*\(owner_id=\?\)$`)
	scan := regexp.MustCompile(`^SCAN (document|text_|embedding_(queue|pages|sets)|embeddings|[a-z]$)`)
	for _, name := range set.Names() {
		sql := strings.NewReplacer("/*condition*/", "", "/*order*/", "created_at, document_id").Replace(set.Get(name))
		rows, err := sqlite.Rows(t.Context(), store, "EXPLAIN QUERY PLAN "+sql)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		derived := map[string]bool{}
		for _, r := range rows {
			step := r[len(r)-1]
			if inner, ok := strings.CutPrefix(step, "CO-ROUTINE "); ok {
				derived[inner] = true
			}
			if whole.MatchString(step) && !slices.Contains(ofOwner, name) {
				t.Errorf("%s looks through all that the owner has: %s", name, step)
			}
			if scan.MatchString(step) && !derived[strings.TrimPrefix(step, "SCAN ")] && !slices.Contains(all, name) {
				t.Errorf("%s: %s", name, step)
			}
		}
	}
}
