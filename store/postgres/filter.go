package postgres

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/llmemory/llmemory"
)

// conditions compiles a Where into SQL on the alias d. Keys and values become arguments, never text of the statement.
type conditions struct {
	sql  strings.Builder
	args []any
}

// compile returns " AND …" for a statement that has args already, and the arguments with its own appended.
func compile(w llmemory.Where, args []any) (string, []any, error) {
	c := &conditions{args: args}
	if len(w.Origins) > 0 {
		fmt.Fprintf(&c.sql, " AND d.id_at_origin = ANY (%s::text[])", c.arg(w.Origins))
	}
	if len(w.Types) > 0 {
		types := make([]string, len(w.Types))
		for i, t := range w.Types {
			types[i] = string(t)
		}
		fmt.Fprintf(&c.sql, " AND d.document_type = ANY (%s::text[])", c.arg(types))
	}
	if !w.From.IsZero() {
		fmt.Fprintf(&c.sql, " AND d.document_date >= %s", c.arg(w.From))
	}
	if !w.To.IsZero() {
		fmt.Fprintf(&c.sql, " AND d.document_date <= %s", c.arg(w.To))
	}
	if !w.Metadata.IsZero() {
		c.sql.WriteString(" AND ")
		if err := c.filter(w.Metadata); err != nil {
			return "", nil, err
		}
	}
	return c.sql.String(), c.args, nil
}

func (c *conditions) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

// json adds a JSON value as an argument.
func (c *conditions) json(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return c.arg(string(raw)) + "::jsonb", nil
}

// filter appends a boolean expression that is never null.
func (c *conditions) filter(f llmemory.Filter) (err error) {
	f.Visit(func(op string, path []string, value any, args []llmemory.Filter) {
		switch op {
		case "":
			c.sql.WriteString("true")
		case "and", "or":
			if len(args) == 0 {
				fmt.Fprint(&c.sql, op == "and")
				return
			}
			c.sql.WriteString("(")
			for i, a := range args {
				if i > 0 {
					c.sql.WriteString(" " + strings.ToUpper(op) + " ")
				}
				if err == nil {
					err = c.filter(a)
				}
			}
			c.sql.WriteString(")")
		case "not":
			c.sql.WriteString("NOT (")
			err = c.filter(args[0])
			c.sql.WriteString(")")
		default:
			err = c.operator(op, path, value)
		}
	})
	return err
}

func (c *conditions) operator(op string, path []string, value any) error {
	// Object keys only: the operator -> finds nothing in an array when its right side is text.
	var field strings.Builder
	field.WriteString("(d.metadata")
	for _, key := range path {
		fmt.Fprintf(&field, " -> %s::text", c.arg(key))
	}
	field.WriteString(")")
	x := field.String()
	switch op {
	case "exists":
		not := ""
		if value == true {
			not = "NOT "
		}
		fmt.Fprintf(&c.sql, "%s IS %sNULL", x, not)
	case "eq":
		v, err := c.json(value)
		if err != nil {
			return err
		}
		var whole any = value
		for i := len(path) - 1; i >= 0; i-- {
			whole = map[string]any{path[i]: whole}
		}
		contains, err := c.json(whole)
		if err != nil {
			return err
		}
		// The first part alone would do but for the index, which knows containment only.
		fmt.Fprintf(&c.sql, "(coalesce(%s = %s, false) AND d.metadata @> %s)", x, v, contains)
	case "ne":
		v, err := c.json(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(&c.sql, "NOT coalesce(%s = %s, false)", x, v)
	case "in", "nin":
		list, _ := value.([]any)
		texts := make([]string, len(list))
		for i, v := range list {
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			texts[i] = string(raw)
		}
		not := ""
		if op == "nin" {
			not = "NOT "
		}
		fmt.Fprintf(&c.sql, "%scoalesce(%s = ANY (%s::jsonb[]), false)", not, x, c.arg(texts))
	case "lt", "lte", "gt", "gte":
		sign := map[string]string{"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[op]
		switch v := value.(type) {
		case json.Number:
			fmt.Fprintf(&c.sql, "CASE WHEN jsonb_typeof(%s) = 'number' THEN (%s #>> '{}'::text[])::numeric %s %s::text::numeric ELSE false END",
				x, x, sign, c.arg(string(v)))
		case string:
			fmt.Fprintf(&c.sql, `CASE WHEN jsonb_typeof(%s) = 'string' THEN (%s #>> '{}'::text[]) COLLATE "C" %s %s::text ELSE false END`,
				x, x, sign, c.arg(v))
		default:
			return fmt.Errorf("%w: %s of %T", llmemory.ErrInvalid, op, value)
		}
	case "prefix":
		s, _ := value.(string)
		fmt.Fprintf(&c.sql, "CASE WHEN jsonb_typeof(%s) = 'string' THEN starts_with(%s #>> '{}'::text[], %s::text) ELSE false END", x, x, c.arg(s))
	case "contains":
		v, err := c.json(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(&c.sql, "CASE jsonb_typeof(%s) WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(%s) e WHERE e = %s)", x, x, v)
		if s, ok := value.(string); ok {
			fmt.Fprintf(&c.sql, " WHEN 'string' THEN strpos(%s #>> '{}'::text[], %s::text) > 0", x, c.arg(s))
		}
		c.sql.WriteString(" ELSE false END")
	default:
		return fmt.Errorf("%w: unknown filter operator %q", llmemory.ErrInvalid, op)
	}
	return nil
}
