package llmemory

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of the domain. Each violation is an [*InvalidError] that names field and rule, and writes nothing.
const (
	maxIDBytes       = 512      // owner, origin, key, name
	maxQueryBytes    = 8192     // of a search query
	maxMetadataBytes = 64 << 10 // of the metadata as JSON
	maxMetadataDepth = 16
	maxLimit         = 1000   // hits, documents or chunks in one answer
	maxDeleteIDs     = 10_000 // ids in one Delete
	maxNeighbours    = 10
	// DefaultMaxContentBytes is the content limit when [Config.MaxContentBytes] is zero.
	DefaultMaxContentBytes = 64 << 20
)

// checkID checks an owner, origin, key or name: 1 to 512 bytes of printable Unicode. URLs, paths and "auth0|abc" are legal; line
// breaks, control and invisible formatting characters are not, so that two ids that look alike at a terminal are alike.
func checkID(field, s string) error {
	switch {
	case s == "":
		return invalidf(field, "must not be empty")
	case len(s) > maxIDBytes:
		return invalidf(field, "must be at most %d bytes long, is %d", maxIDBytes, len(s))
	case !utf8.ValidString(s):
		return invalidf(field, "must be valid UTF-8")
	}
	for i, r := range s {
		if !unicode.IsPrint(r) && r != '\u200d' && r != '\u200c' { // the joiners are part of words and emoji
			return invalidf(field, "must be printable, has %U at byte %d", r, i)
		}
	}
	if strings.TrimSpace(s) == "" {
		return invalidf(field, "must not be blank")
	}
	return nil
}

func validText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

func checkLimit(field string, limit, fallback, most int) (int, error) {
	switch {
	case limit == 0:
		return fallback, nil
	case limit < 0:
		return 0, invalidf(field, "must not be negative, is %d", limit)
	case limit > most:
		return 0, invalidf(field, "must be at most %d, is %d", most, limit)
	}
	return limit, nil
}

// cleanMetadata returns metadata as JSON without NUL characters, and how many it removed.
func cleanMetadata(m map[string]any) (json.RawMessage, error) {
	if len(m) == 0 {
		return json.RawMessage("{}"), nil
	}
	if err := checkDepth(m, 1); err != nil {
		return nil, err
	}
	v, err := jsonValue(m)
	if err != nil {
		return nil, invalidf("metadata", "cannot be written as JSON: %v", err)
	}
	if err := checkJSON(v, 0); err != nil {
		return nil, invalidf("metadata", "%v", err)
	}
	raw, err := json.Marshal(stripNULs(v))
	if err != nil {
		return nil, invalidf("metadata", "cannot be written as JSON: %v", err)
	}
	if len(raw) > maxMetadataBytes {
		return nil, invalidf("metadata", "must be at most %d bytes of JSON, is %d", maxMetadataBytes, len(raw))
	}
	return raw, nil
}

// checkDepth looks at the common Go forms before json.Marshal walks them, whose recursion a hostile value could abuse.
func checkDepth(v any, depth int) error {
	if depth > maxMetadataDepth {
		return invalidf("metadata", "must be nested at most %d levels deep", maxMetadataDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			switch e.(type) {
			case map[string]any, []any:
				if err := checkDepth(e, depth+1); err != nil {
					return err
				}
			}
		}
	case []any:
		for _, e := range v {
			switch e.(type) {
			case map[string]any, []any:
				if err := checkDepth(e, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkJSON checks a decoded JSON value: its depth, its text, and that its numbers are finite as float64.
func checkJSON(v any, depth int) error {
	switch v := v.(type) {
	case map[string]any:
		if depth >= maxMetadataDepth {
			return fmt.Errorf("must be nested at most %d levels deep", maxMetadataDepth)
		}
		for _, e := range v {
			if err := checkJSON(e, depth+1); err != nil {
				return err
			}
		}
	case []any:
		if depth >= maxMetadataDepth {
			return fmt.Errorf("must be nested at most %d levels deep", maxMetadataDepth)
		}
		for _, e := range v {
			if err := checkJSON(e, depth+1); err != nil {
				return err
			}
		}
	case json.Number:
		if _, err := strconv.ParseFloat(string(v), 64); err != nil {
			return fmt.Errorf("number %.40s is out of range", v)
		}
		if len(v) > 400 {
			return fmt.Errorf("number %.40s… has too many digits", v)
		}
	}
	return nil
}

func stripNULs(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "")
	case []any:
		for i := range v {
			v[i] = stripNULs(v[i])
		}
	case map[string]any:
		for k, e := range v {
			clean := strings.ReplaceAll(k, "\x00", "")
			if clean != k {
				delete(v, k)
			}
			v[clean] = stripNULs(e)
		}
	}
	return v
}

// DecodeMetadata turns stored JSON into the form [Document.Metadata] documents. Stores use it.
func DecodeMetadata(raw []byte) (map[string]any, error) {
	if string(raw) == "{}" { // what most documents have
		return map[string]any{}, nil
	}
	v, err := jsonValue(json.RawMessage(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: metadata: %w", ErrCorrupt, err)
	}
	m, ok := plainNumbers(v).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: metadata are not a JSON object", ErrCorrupt)
	}
	return m, nil
}

// plainNumbers replaces each json.Number by a float64 unless that loses digits.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return v
		}
		exact, ok := new(big.Rat).SetString(string(v))
		if !ok {
			return v
		}
		shortest, ok := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
		if !ok || exact.Cmp(shortest) != 0 {
			return v
		}
		return f
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	}
	return v
}

func compareNumbers(a, b json.Number) int {
	if x, err := strconv.ParseInt(string(a), 10, 64); err == nil { // most are
		if y, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			return cmp.Compare(x, y)
		}
	}
	x, okX := new(big.Rat).SetString(string(a))
	y, okY := new(big.Rat).SetString(string(b))
	if !okX || !okY {
		return strings.Compare(string(a), string(b))
	}
	return x.Cmp(y)
}
