package llmemory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"
)

// Where selects documents of an owner. The zero value selects all of them; all conditions must hold.
type Where struct {
	// Origins keeps documents of any of these origins.
	Origins []string
	// Types keeps documents of any of these types.
	Types []Type
	// From and To keep documents with From <= Date <= To. A document without a date matches neither. Zero means unbounded.
	From, To time.Time
	// Metadata keeps documents whose metadata match.
	Metadata Filter
}

// IsZero tells whether w selects every document.
func (w Where) IsZero() bool {
	return len(w.Origins) == 0 && len(w.Types) == 0 && w.From.IsZero() && w.To.IsZero() && w.Metadata.IsZero()
}

// Matches tells whether a document is selected. It is the definition that every store follows.
func (w Where) Matches(d *StoredDocument) bool {
	if len(w.Origins) > 0 && !contains(w.Origins, d.OriginID) {
		return false
	}
	if len(w.Types) > 0 && !contains(w.Types, d.Type) {
		return false
	}
	if !w.From.IsZero() && (d.Date.IsZero() || d.Date.Before(w.From)) {
		return false
	}
	if !w.To.IsZero() && (d.Date.IsZero() || d.Date.After(w.To)) {
		return false
	}
	return w.Metadata.Matches(d.Metadata)
}

func contains[T comparable](list []T, v T) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

func (w Where) validate() error {
	for _, o := range w.Origins {
		if err := checkID("origin", o); err != nil {
			return err
		}
	}
	for _, t := range w.Types {
		if _, err := ParseType(string(t)); err != nil {
			return err
		}
	}
	if len(w.Origins) > maxFilterValues || len(w.Types) > maxFilterValues {
		return invalidf("filter", "at most %d origins or types", maxFilterValues)
	}
	if !w.From.IsZero() && !w.To.IsZero() && w.To.Before(w.From) {
		return invalidf("to", "is before from")
	}
	return w.Metadata.validate(0)
}

// Filter is a condition on a document's metadata, made by [Meta], [And], [Or], [Not] or [ParseFilter]. The zero Filter is
// always true. Filters are data: keys and values are bound as parameters, never made part of a statement.
type Filter struct {
	op    string // "" (true), "and", "or", "not", or one of the operators
	args  []Filter
	path  []string
	value any // a JSON value; a list for in and nin
}

const (
	maxFilterDepth  = 16
	maxFilterValues = 1000
)

var filterOperators = []string{"eq", "ne", "in", "nin", "lt", "lte", "gt", "gte", "exists", "contains", "prefix"}

// Field is a metadata field that a [Filter] compares.
type Field struct{ path []string }

// Meta names a metadata field by its path of object keys: Meta("lang") or Meta("author", "name").
func Meta(path ...string) Field { return Field{path: path} }

// Eq is true when the field is there and equals v. Numbers compare by value; arrays and objects as a whole.
func (f Field) Eq(v any) Filter { return Filter{op: "eq", path: f.path, value: v} }

// Ne is the negation of Eq: also true when the field is missing.
func (f Field) Ne(v any) Filter { return Filter{op: "ne", path: f.path, value: v} }

// In is true when the field equals one of the values, and so never when there are none.
func (f Field) In(v ...any) Filter {
	return Filter{op: "in", path: f.path, value: append([]any{}, v...)}
}

// Nin is the negation of In: also true when the field is missing.
func (f Field) Nin(v ...any) Filter {
	return Filter{op: "nin", path: f.path, value: append([]any{}, v...)}
}

// Lt is true when the field is less than v. Numbers compare with numbers, strings with strings byte by byte; anything else is
// false. So do Lte, Gt and Gte.
func (f Field) Lt(v any) Filter { return Filter{op: "lt", path: f.path, value: v} }

// Lte is true when the field is less than or equal to v.
func (f Field) Lte(v any) Filter { return Filter{op: "lte", path: f.path, value: v} }

// Gt is true when the field is greater than v.
func (f Field) Gt(v any) Filter { return Filter{op: "gt", path: f.path, value: v} }

// Gte is true when the field is greater than or equal to v.
func (f Field) Gte(v any) Filter { return Filter{op: "gte", path: f.path, value: v} }

// Exists is true when the field is there, null included; Exists(false) when it is not.
func (f Field) Exists(yes bool) Filter { return Filter{op: "exists", path: f.path, value: yes} }

// Contains is true when the field is an array with an element that equals v, or a string with v as a substring.
func (f Field) Contains(v any) Filter { return Filter{op: "contains", path: f.path, value: v} }

// Prefix is true when the field is a string that begins with s.
func (f Field) Prefix(s string) Filter { return Filter{op: "prefix", path: f.path, value: s} }

// And is true when all filters are. And() is true.
func And(f ...Filter) Filter { return Filter{op: "and", args: f} }

// Or is true when one of the filters is. Or() is false.
func Or(f ...Filter) Filter { return Filter{op: "or", args: f} }

// Not is true when f is not.
func Not(f Filter) Filter { return Filter{op: "not", args: []Filter{f}} }

// IsZero tells whether f is the zero Filter, which is always true.
func (f Filter) IsZero() bool { return f.op == "" }

// Visit hands the filter's parts to a store's compiler: op is "", "and", "or", "not" or an operator of [Field] in lower case
// ("eq", "ne", …); path and value belong to operators, args to the rest. Values are JSON values as encoding/json decodes them
// with UseNumber: nil, bool, json.Number, string, []any, map[string]any.
func (f Filter) Visit(visit func(op string, path []string, value any, args []Filter)) {
	visit(f.op, f.path, f.value, f.args)
}

// normalize returns f with every value as a plain JSON value.
func (f Filter) normalize() (Filter, error) {
	out := Filter{op: f.op, path: f.path}
	for _, a := range f.args {
		n, err := a.normalize()
		if err != nil {
			return Filter{}, err
		}
		out.args = append(out.args, n)
	}
	if len(f.path) > 0 {
		v, err := jsonValue(f.value)
		if err != nil {
			return Filter{}, invalidf("filter", "value of %q: %v", strings.Join(f.path, "."), err)
		}
		out.value = v
	}
	return out, nil
}

func jsonValue(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var out any
	err = dec.Decode(&out)
	return out, err
}

func (f Filter) validate(depth int) error {
	if depth > maxFilterDepth {
		return invalidf("filter", "nested more than %d levels deep", maxFilterDepth)
	}
	switch f.op {
	case "":
		return nil
	case "and", "or", "not":
		if len(f.args) > maxFilterValues {
			return invalidf("filter", "%q has %d parts, at most %d are allowed", f.op, len(f.args), maxFilterValues)
		}
		for _, a := range f.args {
			if err := a.validate(depth + 1); err != nil {
				return err
			}
		}
		return nil
	}
	if len(f.path) == 0 || len(f.path) > maxFilterDepth {
		return invalidf("filter", "a field's path has 1 to %d keys", maxFilterDepth)
	}
	for _, k := range f.path {
		if len(k) > maxIDBytes || !validText(k) {
			return invalidf("filter", "key %q must be valid UTF-8 without NUL of at most %d bytes", k, maxIDBytes)
		}
	}
	v, err := jsonValue(f.value)
	if err != nil {
		return invalidf("filter", "value of %q: %v", strings.Join(f.path, "."), err)
	}
	if err := checkJSON(v, 0); err != nil {
		return invalidf("filter", "value of %q: %v", strings.Join(f.path, "."), err)
	}
	if hasNUL(v) {
		return invalidf("filter", "value of %q: must not have NUL characters", strings.Join(f.path, "."))
	}
	switch f.op {
	case "in", "nin":
		list, ok := v.([]any)
		if !ok {
			return invalidf("filter", "%q of %q needs a list", f.op, strings.Join(f.path, "."))
		}
		if len(list) > maxFilterValues {
			return invalidf("filter", "%q has %d values, at most %d are allowed", f.op, len(list), maxFilterValues)
		}
	case "lt", "lte", "gt", "gte":
		switch v.(type) {
		case json.Number, string:
		default:
			return invalidf("filter", "%q of %q needs a number or a string", f.op, strings.Join(f.path, "."))
		}
	case "exists":
		if _, ok := v.(bool); !ok {
			return invalidf("filter", "%q of %q needs true or false", f.op, strings.Join(f.path, "."))
		}
	case "prefix":
		if _, ok := v.(string); !ok {
			return invalidf("filter", "%q of %q needs a string", f.op, strings.Join(f.path, "."))
		}
	case "eq", "ne", "contains":
	default:
		return invalidf("filter", "unknown operator %q; known are %s, and, or, not", f.op, strings.Join(filterOperators, ", "))
	}
	return nil
}

func hasNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "\x00")
	case []any:
		for _, e := range v {
			if hasNUL(e) {
				return true
			}
		}
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, "\x00") || hasNUL(e) {
				return true
			}
		}
	}
	return false
}

// Matches tells whether metadata satisfy the filter. It is the definition that every store follows.
func (f Filter) Matches(metadata map[string]any) bool {
	m, err := jsonValue(metadata)
	if err != nil {
		return false
	}
	n, err := f.normalize()
	if err != nil {
		return false
	}
	return n.match(func(path []string) (any, bool) { return field(m, path) })
}

// Matcher returns f as a function of metadata in their JSON form, for stores that ask of many documents. Its error wraps
// [ErrCorrupt]: the metadata are no JSON.
func (f Filter) Matcher() (func(metadata []byte) (bool, error), error) {
	n, err := f.normalize()
	if err != nil {
		return nil, err
	}
	return func(metadata []byte) (yes bool, err error) {
		if !json.Valid(metadata) {
			return false, fmt.Errorf("%w: metadata are not JSON", ErrCorrupt)
		}
		return n.match(func(path []string) (any, bool) { return rawField(metadata, path) }), nil
	}, nil
}

// field finds a value in decoded JSON by its path of object keys.
func field(v any, path []string) (any, bool) {
	for _, k := range path {
		obj, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = obj[k]; !ok {
			return nil, false
		}
	}
	return v, true
}

// match applies a normalized filter to metadata whose fields find returns.
func (f Filter) match(find func(path []string) (any, bool)) bool {
	switch f.op {
	case "":
		return true
	case "and":
		for _, a := range f.args {
			if !a.match(find) {
				return false
			}
		}
		return true
	case "or":
		for _, a := range f.args {
			if a.match(find) {
				return true
			}
		}
		return false
	case "not":
		return !f.args[0].match(find)
	}
	got, there := find(f.path)
	switch f.op {
	case "exists":
		return there == f.value.(bool)
	case "eq":
		return there && jsonEqual(got, f.value)
	case "ne":
		return !there || !jsonEqual(got, f.value)
	case "in", "nin":
		in := false
		if list, ok := f.value.([]any); ok && there {
			for _, v := range list {
				in = in || jsonEqual(got, v)
			}
		}
		return in == (f.op == "in")
	}
	if !there {
		return false
	}
	switch f.op {
	case "lt", "lte", "gt", "gte":
		c, ok := jsonCompare(got, f.value)
		if !ok {
			return false
		}
		switch f.op {
		case "lt":
			return c < 0
		case "lte":
			return c <= 0
		case "gt":
			return c > 0
		}
		return c >= 0
	case "prefix":
		s, ok := got.(string)
		return ok && strings.HasPrefix(s, f.value.(string))
	case "contains":
		switch got := got.(type) {
		case string:
			sub, ok := f.value.(string)
			return ok && strings.Contains(got, sub)
		case []any:
			for _, e := range got {
				if jsonEqual(e, f.value) {
					return true
				}
			}
		}
	}
	return false
}

func jsonEqual(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && compareNumbers(a, b) == 0
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !jsonEqual(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, there := b[k]
			if !there || !jsonEqual(v, w) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a, b)
}

func jsonCompare(a, b any) (int, bool) {
	switch a := a.(type) {
	case json.Number:
		if b, ok := b.(json.Number); ok {
			return compareNumbers(a, b), true
		}
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true
		}
	}
	return 0, false
}

// MarshalJSON gives the JSON form that [ParseFilter] reads.
func (f Filter) MarshalJSON() ([]byte, error) {
	switch f.op {
	case "":
		return []byte("{}"), nil
	case "and", "or":
		args := f.args
		if args == nil {
			args = []Filter{}
		}
		return json.Marshal(map[string]any{"$" + f.op: args})
	case "not":
		return json.Marshal(map[string]any{"$not": f.args[0]})
	}
	escaped := make([]string, len(f.path))
	for i, k := range f.path {
		escaped[i] = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `$`, `\$`).Replace(k)
	}
	return json.Marshal(map[string]any{strings.Join(escaped, "."): map[string]any{"$" + f.op: f.value}})
}

// UnmarshalJSON reads the JSON form; see [ParseFilter].
func (f *Filter) UnmarshalJSON(raw []byte) error {
	p, err := ParseFilter(raw)
	if err != nil {
		return err
	}
	*f = p
	return nil
}

// ParseFilter reads a filter in its JSON form. An object is the conjunction of its members:
//
//	{"lang": "go", "year": {"$gte": 2020, "$lt": 2024}}
//	{"$or": [{"author.name": {"$prefix": "A"}}, {"tags": {"$contains": "draft"}}]}
//	{"$not": {"state": {"$in": ["old", "gone"]}}}
//
// A member's name is a field, with dots between the keys of a path (a dot, dollar or backslash that belongs to a key is escaped
// by a backslash), or $and, $or (lists), $not (an object). A member's value is an object of operators or any other JSON
// value, which means $eq. The operators are $eq, $ne, $in, $nin, $lt, $lte, $gt, $gte, $exists, $contains and $prefix; their
// dollar may be left out where no key of that name is meant. Errors are [*InvalidError].
func ParseFilter(raw []byte) (Filter, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return Filter{}, invalidf("filter", "is not JSON: %v", err)
	}
	if dec.More() {
		return Filter{}, invalidf("filter", "has something after the JSON object")
	}
	f, err := filterFromJSON(v, 0)
	if err != nil {
		return Filter{}, err
	}
	return f, f.validate(0)
}

func filterFromJSON(v any, depth int) (Filter, error) {
	obj, ok := v.(map[string]any)
	if !ok {
		return Filter{}, invalidf("filter", "must be a JSON object")
	}
	if depth > maxFilterDepth {
		return Filter{}, invalidf("filter", "nested more than %d levels deep", maxFilterDepth)
	}
	names := make([]string, 0, len(obj))
	for name := range obj {
		names = append(names, name)
	}
	sort.Strings(names)
	var parts []Filter
	for _, name := range names {
		part, err := filterMember(name, obj[name], depth)
		if err != nil {
			return Filter{}, err
		}
		parts = append(parts, part...)
	}
	switch len(parts) {
	case 0:
		return Filter{}, nil
	case 1:
		return parts[0], nil
	}
	return And(parts...), nil
}

func filterMember(name string, v any, depth int) ([]Filter, error) {
	list := func() ([]Filter, error) {
		items, ok := v.([]any)
		if !ok {
			return nil, invalidf("filter", "%s needs a list", name)
		}
		var out []Filter
		for _, it := range items {
			f, err := filterFromJSON(it, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
		return out, nil
	}
	switch name {
	case "$and", "and":
		args, err := list()
		return []Filter{And(args...)}, err
	case "$or", "or":
		args, err := list()
		return []Filter{Or(args...)}, err
	case "$not", "not":
		f, err := filterFromJSON(v, depth+1)
		return []Filter{Not(f)}, err
	}
	path, err := splitPath(name)
	if err != nil {
		return nil, err
	}
	ops, ok := v.(map[string]any)
	if !ok {
		return []Filter{{op: "eq", path: path, value: v}}, nil
	}
	names := make([]string, 0, len(ops))
	for op := range ops {
		names = append(names, op)
	}
	sort.Strings(names)
	var out []Filter
	for _, op := range names {
		bare := strings.TrimPrefix(op, "$")
		if !contains(filterOperators, bare) {
			return nil, invalidf("filter", "unknown operator %q of %q; known are %s", op, name, strings.Join(filterOperators, ", "))
		}
		out = append(out, Filter{op: bare, path: path, value: ops[op]})
	}
	if len(out) == 0 {
		return nil, invalidf("filter", "%q has no operator", name)
	}
	return out, nil
}

func splitPath(name string) ([]string, error) {
	var path []string
	var key strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; c {
		case '\\':
			i++
			if i == len(name) {
				return nil, invalidf("filter", "field %q ends with a lone backslash", name)
			}
			key.WriteByte(name[i])
		case '.':
			path = append(path, key.String())
			key.Reset()
		case '$':
			return nil, invalidf("filter", "unknown name %q; a dollar that belongs to a key is written \\$", name)
		default:
			key.WriteByte(c)
		}
	}
	path = append(path, key.String())
	return path, nil
}

// String gives the JSON form.
func (f Filter) String() string {
	raw, err := json.Marshal(f)
	if err != nil {
		return fmt.Sprintf("invalid filter: %v", err)
	}
	return string(raw)
}
