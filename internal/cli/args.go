package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/llmemory/llmemory"
)

func typeNames() []string {
	var names []string
	for _, t := range llmemory.Types() {
		names = append(names, string(t))
	}
	return names
}

// parseMeta reads k=v pairs. A value that is a JSON number, true, false or null is that; anything else is text.
func parseMeta(pairs []string) (keys []string, values []any, err error) {
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, nil, usagef("--meta %q: must be KEY=VALUE", pair)
		}
		keys, values = append(keys, k), append(values, metaValue(v))
	}
	return keys, values, nil
}

func metaValue(text string) any {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() || strings.TrimSpace(text) != text {
		return text
	}
	switch v.(type) {
	case json.Number, bool, nil:
		return v
	}
	return text
}

// parseDate reads a day or an instant. A day stands for its first moment (UTC), or its last one if end is set.
func parseDate(flag, text string, end bool) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			return day.AddDate(0, 0, 1).Add(-time.Microsecond), nil // the databases count in microseconds
		}
		return day, nil
	}
	instant, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, usagef("--%s %q: must be a date such as 2024-05-31 or 2024-05-31T10:00:00Z", flag, text)
	}
	return instant, nil
}

// where is the condition that the flags make.
func (a *app) where() (llmemory.Where, error) {
	o := &a.opts
	w := llmemory.Where{Origins: o.origins}
	for _, name := range o.kinds {
		t, err := llmemory.ParseType(name)
		if err != nil {
			return w, err
		}
		w.Types = append(w.Types, t)
	}
	var err error
	if w.From, err = parseDate("from", o.from, false); err != nil {
		return w, err
	}
	if w.To, err = parseDate("to", o.to, true); err != nil {
		return w, err
	}
	var filters []llmemory.Filter
	if o.filter != "" {
		f, err := llmemory.ParseFilter([]byte(o.filter))
		if err != nil {
			return w, err
		}
		filters = append(filters, f)
	}
	keys, values, err := parseMeta(o.meta)
	if err != nil {
		return w, err
	}
	for i, k := range keys {
		filters = append(filters, llmemory.Meta(k).Eq(values[i]))
	}
	switch len(filters) {
	case 0:
	case 1:
		w.Metadata = filters[0]
	default:
		w.Metadata = llmemory.And(filters...)
	}
	return w, nil
}

// checkLimit refuses a number that the root package would take for "default" or that is out of its range.
func checkLimit(flag string, n int) error {
	if n < 1 || n > 1000 {
		return usagef("--%s must be 1 to 1000, is %d", flag, n)
	}
	return nil
}
