package llmemory

import (
	"bytes"
	"encoding/json"
)

// rawField finds a value by its path of object keys in JSON that is valid, and decodes nothing else. Like encoding/json it takes the
// last of members that have the same key.
func rawField(raw []byte, path []string) (any, bool) {
	for _, key := range path {
		var there bool
		if raw, there = rawMember(raw, key); !there {
			return nil, false
		}
	}
	return rawValue(raw), true
}

// rawMember returns the value of an object's member.
func rawMember(raw []byte, key string) (value []byte, there bool) {
	at := blank(raw, 0)
	if raw[at] != '{' {
		return nil, false
	}
	for at = blank(raw, at+1); raw[at] != '}'; {
		end := pastString(raw, at)
		name := raw[at:end]
		at = blank(raw, blank(raw, end)+1) // past the colon
		end = pastValue(raw, at)
		if sameKey(name, key) {
			value, there = raw[at:end], true
		}
		if at = blank(raw, end); raw[at] == ',' {
			at = blank(raw, at+1)
		}
	}
	return value, there
}

// sameKey compares a key as it is written with a plain one.
func sameKey(name []byte, key string) bool {
	if bytes.IndexByte(name, '\\') < 0 {
		return string(name[1:len(name)-1]) == key
	}
	return rawValue(name) == any(key)
}

// blank returns where the white space from at on ends.
func blank(raw []byte, at int) int {
	for at < len(raw) && (raw[at] == ' ' || raw[at] == '\n' || raw[at] == '\t' || raw[at] == '\r') {
		at++
	}
	return at
}

// pastString returns where the string that begins at at ends.
func pastString(raw []byte, at int) int {
	for at++; raw[at] != '"'; at++ {
		if raw[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// pastValue returns where the value that begins at at ends.
func pastValue(raw []byte, at int) int {
	for depth := 0; at < len(raw); {
		switch raw[at] {
		case '"':
			at = pastString(raw, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r':
			at++
			continue
		default:
			for at < len(raw) && bytes.IndexByte([]byte(",:]} \n\t\r"), raw[at]) < 0 {
				at++
			}
		}
		if depth == 0 {
			break
		}
	}
	return at
}

// rawValue decodes a value; numbers stay as they are written.
func rawValue(raw []byte) any {
	switch raw[0] {
	case '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			return string(raw[1 : len(raw)-1])
		}
	case 't', 'f':
		return raw[0] == 't'
	case 'n':
		return nil
	case '{', '[':
	default:
		return json.Number(raw)
	}
	v, _ := jsonValue(json.RawMessage(raw)) // of valid JSON
	return v
}
