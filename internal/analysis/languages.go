package analysis

import (
	"embed"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/arabic"
	"github.com/blevesearch/snowballstem/danish"
	"github.com/blevesearch/snowballstem/dutch"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/finnish"
	"github.com/blevesearch/snowballstem/french"
	"github.com/blevesearch/snowballstem/german"
	"github.com/blevesearch/snowballstem/hungarian"
	"github.com/blevesearch/snowballstem/italian"
	"github.com/blevesearch/snowballstem/norwegian"
	"github.com/blevesearch/snowballstem/portuguese"
	"github.com/blevesearch/snowballstem/romanian"
	"github.com/blevesearch/snowballstem/russian"
	"github.com/blevesearch/snowballstem/spanish"
	"github.com/blevesearch/snowballstem/swedish"
	"github.com/blevesearch/snowballstem/turkish"
)

// A script is what tells which languages can have written a word.
type script uint8

const (
	other script = iota
	latin
	cyrillic
	greek
	arab
	devanagari
	han // and the other scripts written without spaces
)

// A language is how one language's words become terms. Languages are made
// once and never changed.
type language struct {
	name   string
	script script // other: every script
	stop   map[string]bool
	// normalize resolves spellings before stemming; nil for none.
	normalize func(string) string
	stem      func(string) string // nil for none
	elide     map[string]bool     // words that lean on the next: l', d', qu'
	suffixes  bool                // an apostrophe begins a suffix: Ankara'nın
}

//go:embed stopwords/*.txt
var stopwordFiles embed.FS

// languages holds every supported language, read-only.
var languages = makeLanguages()

// languageNames are the keys of languages, sorted, read-only.
var languageNames = slices.Sorted(maps.Keys(languages))

// defaults is the language of a word whose script is not that of its text.
var defaults = map[script]string{
	latin: "en", cyrillic: "ru", greek: "el", arab: "ar", devanagari: "hi", han: Undetermined, other: Undetermined,
}

func makeLanguages() map[string]*language {
	all := []*language{
		{name: Undetermined},
		{name: "zh", script: han}, {name: "ja", script: han}, {name: "ko", script: han}, {name: "th", script: han},
		{name: "en", script: latin, stem: snowball(english.Stem)},
		{name: "de", script: latin, stem: snowball(german.Stem), normalize: normalizeGerman},
		{name: "fr", script: latin, stem: snowball(french.Stem), elide: set("l m t qu n s j d c jusqu quoiqu lorsqu puisqu")},
		{name: "es", script: latin, stem: snowball(spanish.Stem)},
		{name: "it", script: latin, stem: snowball(italian.Stem), elide: set("c l all dall dell nell sull coll pell gl agl dagl degl negl sugl un m t s v d quell quest")},
		{name: "pt", script: latin, stem: snowball(portuguese.Stem)},
		{name: "nl", script: latin, stem: snowball(dutch.Stem)},
		{name: "sv", script: latin, stem: snowball(swedish.Stem)},
		{name: "no", script: latin, stem: snowball(norwegian.Stem)},
		{name: "da", script: latin, stem: snowball(danish.Stem)},
		{name: "fi", script: latin, stem: snowball(finnish.Stem)},
		{name: "ro", script: latin, stem: snowball(romanian.Stem), normalize: normalizeRomanian},
		{name: "hu", script: latin, stem: snowball(hungarian.Stem)},
		{name: "tr", script: latin, stem: snowball(turkish.Stem), suffixes: true},
		{name: "ru", script: cyrillic, stem: snowball(russian.Stem), normalize: normalizeRussian},
		{name: "el", script: greek, normalize: fold},
		{name: "ar", script: arab, stem: snowball(arabic.Stem), normalize: normalizeArabic},
		{name: "fa", script: arab, normalize: normalizePersian},
		{name: "hi", script: devanagari, stem: stemHindi, normalize: normalizeHindi},
	}
	m := make(map[string]*language, len(all))
	for _, l := range all {
		l.stop = readStopwords(l)
		m[l.name] = l
	}
	return m
}

// readStopwords reads the stop list of a language: as written, and as
// normalised, for people who write without accents or hamzas.
func readStopwords(l *language) map[string]bool {
	file, err := stopwordFiles.ReadFile("stopwords/" + l.name + ".txt")
	if err != nil {
		return nil // the language has no list
	}
	stop := make(map[string]bool)
	for line := range strings.Lines(string(file)) {
		w := strings.TrimSpace(line)
		if w == "" || strings.HasPrefix(w, "#") {
			continue
		}
		stop[w] = true
		if l.normalize != nil && l.script != latin {
			stop[l.normalize(w)] = true
		}
	}
	return stop
}

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

func snowball(stem func(*snowballstem.Env) bool) func(string) string {
	return func(w string) string {
		env := snowballstem.NewEnv(w)
		stem(env)
		return env.Current()
	}
}

// dense reports whether a character belongs to a script written without
// spaces, or with ones that do not separate words alone (Korean).
func dense(r rune) bool {
	switch {
	case r < 0x0E00:
		return false
	case r >= 0x3040 && r <= 0x30FF: // kana, with the prolonged sound mark
		return r != '・' && r != '゠'
	case r >= 0x4E00 && r <= 0x9FFF, r >= 0xAC00 && r <= 0xD7A3:
		return true
	}
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo, unicode.Yi,
		unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar) && (unicode.IsLetter(r) || unicode.Is(unicode.M, r))
}

func scriptOf(r rune) script {
	switch {
	case r < 0x80, r >= 0xC0 && r < 0x250:
		return latin
	case dense(r):
		return han
	case unicode.Is(unicode.Latin, r):
		return latin
	case unicode.Is(unicode.Cyrillic, r):
		return cyrillic
	case unicode.Is(unicode.Greek, r):
		return greek
	case unicode.Is(unicode.Arabic, r):
		return arab
	case unicode.Is(unicode.Devanagari, r):
		return devanagari
	}
	return other
}

// scripts lists the scripts of the letters of a text, each once, in the order
// of the constants.
func scripts(text string) []script {
	var seen [han + 1]bool
	for _, r := range text {
		if unicode.IsLetter(r) {
			seen[scriptOf(r)] = true
		}
	}
	var list []script
	for s, ok := range seen {
		if ok {
			list = append(list, script(s))
		}
	}
	return list
}

// QueryLanguages returns, sorted, the languages that a query must be analysed
// for to be found in texts of the owned languages: for each script in the
// query, the owned languages written in it, and that script's default language
// if foreign words of an owned language's texts are analysed as such. A nil
// owned stands for every supported language. It returns at least one language.
func QueryLanguages(query string, owned []string) []string {
	if owned == nil {
		owned = languageNames
	}
	wanted := make(map[string]bool)
	for _, s := range scripts(query) {
		for _, name := range owned {
			l, ok := languages[name]
			switch {
			case !ok:
				wanted[Undetermined] = true
			case l.script == s || l.script == other:
				wanted[name] = true
			default:
				wanted[defaults[s]] = true
			}
		}
	}
	if len(wanted) == 0 { // digits, or an owner without texts
		wanted[Undetermined] = true
	}
	return slices.Sorted(maps.Keys(wanted))
}
