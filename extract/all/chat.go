package all

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/llmemory/llmemory/extract"
	"github.com/llmemory/llmemory/extract/text"
)

// chat reads a conversation, which is text with another structure.
func chat(ctx context.Context, in extract.Input) (extract.Text, error) {
	t, err := text.Extractor{Format: "text"}.Extract(ctx, in)
	if err == nil {
		t.Type, t.Format, t.Markup = "chat", "chat", "chat"
	}
	return t, err
}

var (
	captions = regexp.MustCompile(`^(?:WEBVTT|(?:\d+\r?\n)?\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3})`)
	// stampedTurn is a line with a time, without fractions of a second as logs have them, and a speaker.
	stampedTurn = regexp.MustCompile(`^[\x{200e}\x{feff}]*\[?(?:\d{1,4}[-./]\d{1,2}[-./]\d{1,4},? )?\d{1,2}:\d\d(?::\d\d)?(?:[ \x{202f}]?[AaPp]\.?[Mm]\.?)?\]?(?: -)? ` +
		`(?:<[@+%&~ ]?([^<>\s]{1,32})>|([^:<>\[\]={}]{1,40}):) `)
	nickTurn  = regexp.MustCompile(`^<[@+%&~ ]?([^<>\s/]{1,32})> \S`)
	aboveTurn = regexp.MustCompile(`^(\p{L}[^\d:<>\[\]]{0,40}?)(?: {2,}| — )(?:[\d/. ]+,? |Today at |Yesterday at )?\d{1,2}:\d\d(?: ?[AaPp][Mm])?$`)
)

// levels are words that logs have where chats have a speaker.
var levels = map[string]bool{"error": true, "warn": true, "warning": true, "info": true, "debug": true, "trace": true, "fatal": true,
	"critical": true, "notice": true, "panic": true, "err": true, "severe": true, "verbose": true}

// isChat tells whether a text is a conversation, as programs export it or people paste it: captions, or lines of which many say when
// who speaks. It takes no chances: a list of names and texts without a time may be anything.
func isChat(sample []byte) bool {
	if captions.Match(sample) {
		return true
	}
	const fewest = 4
	speakers := map[string]int{}
	lines, turns, people := 0, 0, false
	for n := 0; len(sample) > 0 && n < 300; n++ {
		row, rest, _ := bytes.Cut(sample, []byte("\n"))
		sample = rest
		row = bytes.TrimRight(row, "\r ")
		if len(row) == 0 || len(row) > 5000 {
			continue
		}
		lines++
		who := ""
		if m := stampedTurn.FindSubmatch(row); m != nil {
			who = string(m[1]) + strings.TrimSpace(string(m[2]))
		} else if m := nickTurn.FindSubmatch(row); m != nil && m[1][0] != '!' {
			who = string(m[1])
		} else if m := aboveTurn.FindSubmatch(row); m != nil {
			who = strings.TrimSpace(string(m[1]))
		}
		if who == "" {
			continue
		}
		if levels[strings.ToLower(who)] {
			return false
		}
		first, _ := utf8.DecodeRuneInString(who)
		people = people || row[0] == '<' || bytes.IndexByte(row, '<') > 0 || unicode.IsLetter(first) && !unicode.IsLower(first)
		turns++
		speakers[who]++
	}
	return people && turns >= fewest && turns*4 >= lines && len(speakers) >= 2 && len(speakers) < turns
}
