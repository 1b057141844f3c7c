package sqlite

import (
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/llmemory/llmemory"
)

// compile turns a Where into SQL on the alias d: it returns " AND …" for a statement that has args already, and the arguments with
// its own appended. Keys and values become arguments, never text of the statement.
//
// Metadata are left to a function of our own. SQLite's functions on JSON compare numbers as floats, which are too coarse, and know
// no paths with every key.
func compile(w llmemory.Where, args []any) (string, []any, error) {
	var sql strings.Builder
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("?%d", len(args))
	}
	anyOf := func(column string, n int, value func(int) string) {
		fmt.Fprintf(&sql, " AND d.%s IN (", column)
		for i := range n {
			if i > 0 {
				sql.WriteString(", ")
			}
			sql.WriteString(arg(value(i)))
		}
		sql.WriteString(")")
	}
	if n := len(w.Origins); n > 0 {
		anyOf("id_at_origin", n, func(i int) string { return w.Origins[i] })
	}
	if n := len(w.Types); n > 0 {
		anyOf("document_type", n, func(i int) string { return string(w.Types[i]) })
	}
	if !w.From.IsZero() {
		fmt.Fprintf(&sql, " AND d.document_date >= %s", arg(micros(w.From.Add(time.Microsecond-time.Nanosecond))))
	}
	if !w.To.IsZero() {
		fmt.Fprintf(&sql, " AND d.document_date <= %s", arg(micros(w.To)))
	}
	if !w.Metadata.IsZero() {
		match, err := w.Metadata.Matcher()
		if err != nil {
			return "", nil, err
		}
		fmt.Fprintf(&sql, " AND %s(d.metadata, %s)", matchesFunction, arg(&matcher{match}))
	}
	return sql.String(), args, nil
}

// matcher is a filter on metadata on its way to the function that applies it.
type matcher struct {
	match func(metadata []byte) (bool, error)
}

// matchesFunction is the name of [matches] in SQL.
const matchesFunction = "llmemory_matches"

// matches tells whether metadata, its first argument, satisfy a filter, its second.
func matches(ctx sqlite3.Context, arg ...sqlite3.Value) {
	m, ok := arg[1].Pointer().(*matcher)
	if !ok {
		ctx.ResultError(fmt.Errorf("%s: the second argument is no filter", matchesFunction))
		return
	}
	yes, err := m.match(arg[0].RawText())
	if err != nil {
		ctx.ResultError(err)
		return
	}
	ctx.ResultBool(yes)
}
