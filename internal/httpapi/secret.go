package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// masked is what a secret looks like from outside.
const masked = "***"

// Secret is a key or password that cannot be printed: String, every format of fmt, JSON, text and slog give "***", or nothing
// if it is empty. Even a dump of a structure that holds one in an unexported field shows no more than an address.
type Secret struct {
	value *string // a pointer, as fmt prints unexported fields without asking them
}

// NewSecret makes a Secret of its value. White space around it is dropped, as files and shells like to add some.
func NewSecret(value string) Secret {
	value = strings.TrimSpace(value)
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the value.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero tells whether there is no value.
func (s Secret) IsZero() bool { return s.value == nil }

// String returns "***", or "" if there is no value.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return masked
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format implements [fmt.Formatter], for the formats that know no Stringer.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text)
}

// MarshalJSON implements [json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler], so that configuration files can hold secrets.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
