// Package docmeta reads what documents say of themselves: dates and languages.
package docmeta

import (
	"strings"
	"time"
)

// Language returns the ISO 639-1 code of a language tag such as "de-AT", "" for one without such a code.
func Language(tag string) string {
	tag = strings.ToLower(strings.TrimSpace(tag))
	tag, _, _ = strings.Cut(tag, "-")
	tag, _, _ = strings.Cut(tag, "_")
	if two, ok := three[tag]; ok {
		return two
	}
	if len(tag) != 2 || strings.Trim(tag, "abcdefghijklmnopqrstuvwxyz") != "" {
		return ""
	}
	return tag
}

// three are codes of ISO 639-2, both kinds, of the languages that come most often.
var three = map[string]string{
	"ara": "ar", "bul": "bg", "ces": "cs", "cze": "cs", "chi": "zh", "zho": "zh", "dan": "da", "deu": "de", "ger": "de", "dut": "nl",
	"nld": "nl", "ell": "el", "gre": "el", "eng": "en", "est": "et", "fas": "fa", "per": "fa", "fin": "fi", "fra": "fr", "fre": "fr",
	"heb": "he", "hin": "hi", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv", "lit": "lt", "nor": "no",
	"pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "swe": "sv",
	"tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi",
}

// Date reads a date as ISO 8601 and its kin write it, with or without time and zone, and as mail does. A time without a zone is
// taken as UTC. What is no date, or lies before the year 1 or after 9999, is the zero time.
func Date(s string) time.Time {
	s = strings.TrimSpace(s)
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05-0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "2006-01", "2006", "2006/01/02", "20060102",
		time.RFC1123Z, time.RFC1123, time.RFC850, time.ANSIC, "2 January 2006", "January 2, 2006", "Jan 2, 2006",
	} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 && t.Year() < 10000 {
			return t.UTC()
		}
	}
	return time.Time{}
}

// LCID returns the ISO 639-1 code of a Windows language identifier ([MS-LCID]), "" for one that is not known.
func LCID(id int) string { return primary[id&0x3ff] }

var primary = map[int]string{
	0x01: "ar", 0x02: "bg", 0x03: "ca", 0x04: "zh", 0x05: "cs", 0x06: "da", 0x07: "de", 0x08: "el", 0x09: "en", 0x0a: "es", 0x0b: "fi",
	0x0c: "fr", 0x0d: "he", 0x0e: "hu", 0x0f: "is", 0x10: "it", 0x11: "ja", 0x12: "ko", 0x13: "nl", 0x14: "no", 0x15: "pl", 0x16: "pt",
	0x18: "ro", 0x19: "ru", 0x1b: "sk", 0x1c: "sq", 0x1d: "sv", 0x1e: "th", 0x1f: "tr", 0x20: "ur", 0x21: "id", 0x22: "uk", 0x23: "be",
	0x24: "sl", 0x25: "et", 0x26: "lv", 0x27: "lt", 0x29: "fa", 0x2a: "vi", 0x2b: "hy", 0x2d: "eu", 0x2f: "mk", 0x36: "af", 0x39: "hi",
	0x3e: "ms", 0x41: "sw", 0x45: "bn", 0x49: "ta", 0x56: "gl",
}
