package chunk

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// chat cuts a conversation between turns. A turn is what one speaker says at a time, with the lines that belong to it; it is cut only
// if it does not fit into a leaf. Turns are put together as paragraphs are, rather across the answer to a question than across a
// pause. The headings of a leaf are the topic, where the text begins with one, and who speaks in it; no times.
//
// How turns begin is found out from the first lines. A text in which nobody speaks is read as paragraphs.
func (b *builder) chat() error {
	t := transcript{builder: b, form: formOf(b.text)}
	if t.form == noForm {
		return b.paragraphs(0, len(b.text), blockStrength)
	}
	b.speakers = &t
	t.reader = turnReader{form: t.form}
	if err := b.lines(0, len(b.text), t.line); err != nil {
		return err
	}
	return t.flush(len(b.text))
}

// form is a way in which transcripts are written.
type form int

const (
	noForm    form = iota
	stampForm      // "[10:15] Ana: text", "2026-01-02 10:15 - Ana: text", "10:15 <ana> text"
	aboveForm      // "Ana  10:15 AM" on a line of its own, as Slack and Discord have it
	angleForm      // "<ana> text", "* ana does this"
	nameForm       // "Ana: text"
	cueForm        // captions, WebVTT or SubRip
)

const (
	maxFormLines    = 400 // that are looked at to find out the form
	maxSpeakerBytes = 60
	maxSpeakers     = 4 // named in a heading
	pauseMinutes    = 60
)

const (
	answerStrength strength = 52 // before the turn after a question
	goesOnStrength strength = 56 // before another turn of the same speaker
	insideStrength strength = 48 // between paragraphs of a turn
)

const (
	clockPattern   = `(\d{1,2})[:.h](\d{2})(?:[:.]\d{2})?(?:[.,]\d{1,6})?(?:[\s\x{202f}\x{a0}]?([AaPp])\.?[Mm]\.?)?`
	datePattern    = `(?:\pL{2,9}\.?,? )?(?:\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|\d{1,2}\.? \pL{3,9}\.? \d{4}|\pL{3,9}\.? \d{1,2},? \d{4})[,T]? ?(?:at |um |à )?`
	speakerPattern = `(\pL[\pL\pN\pM ._'’#&/@-]{0,58})`
)

var (
	// stamped has the hour, the minute, a letter of AM or PM, and what follows.
	stamped = regexp.MustCompile(`^[\x{200e}\x{202a}\x{feff} \t]*[\[(]?(?:` + datePattern + `)?` + clockPattern + `Z?[\])]?[ \t]*(?:[-–—|][ \t]+)?(.*)$`)
	// above has the speaker, the hour, the minute and a letter of AM or PM.
	above = regexp.MustCompile(`^[ \t]*` + speakerPattern + `(?:[ \t]{2,}|[ \t]*[—–|•][ \t]*|[ \t]+)[\[(]?(?:` + datePattern +
		`|(?:[Tt]oday|[Yy]esterday|[Hh]eute|[Gg]estern)(?: at| um|,)? )?` + clockPattern + `[\])]?[ \t]*$`)
	angled = regexp.MustCompile(`^[ \t]*<[@+%&~ ]?([^<>\s][^<>]{0,40})>(?:[ \t]|$)`)
	acts   = regexp.MustCompile(`^[ \t]*\*{1,3} (\S{1,30}) `)
	spoken = regexp.MustCompile(`^[ \t]*(?:[-–—] |>> ?|\*\*)?` + speakerPattern + `(?: ?[\[(][^\])]{1,30}[\])])?(?:\*\*)?(?::(?:\*\*)?(?:[ \t\x{a0}]|$)|：)`)
	cue    = regexp.MustCompile(`^[ \t]*(?:\d{1,2}:)?\d{1,2}:\d{2}[.,]\d{3} --> (?:\d{1,2}:)?\d{1,2}:\d{2}[.,]\d{3}`)
	voice  = regexp.MustCompile(`^[ \t]*<v(?:\.[^ >]*)?[ \t]+([^>]{1,60})>`)
)

// notSpeakers are words before a colon that begin no turn.
var notSpeakers = map[string]bool{"note": true, "nb": true, "ps": true, "p.s": true, "p.s.": true, "re": true, "fwd": true, "edit": true, "update": true,
	"todo": true, "warning": true, "error": true, "http": true, "https": true, "ftp": true, "mailto": true, "file": true, "example": true,
	"e.g.": true, "i.e.": true, "important": true, "hint": true, "tip": true, "url": true, "link": true, "date": true, "subject": true, "topic": true,
	"channel": true, "title": true, "thema": true, "betreff": true, "participants": true, "attendees": true}

// turn is what the beginning of a turn says.
type turn struct {
	who     string
	minutes int // of the day, or -1
}

// turnReader finds turns, line by line.
type turnReader struct {
	form  form
	timed bool // the line before was the time of a caption
}

// next reports whether a turn begins with a line.
func (r *turnReader) next(row string) (turn, bool) {
	none := turn{minutes: -1}
	switch r.form {
	case stampForm:
		if !clockNear(row) {
			return none, false
		}
		m := stamped.FindStringSubmatch(row)
		if m == nil {
			return none, false
		}
		t := turn{minutes: minutesOf(m[1:])}
		var ok bool
		if t.who, ok = nick(m[4]); !ok {
			t.who = speaker(m[4])
		}
		return t, true
	case aboveForm:
		if len(row) > 160 || !clockNear(row) {
			return none, false
		}
		if m := above.FindStringSubmatch(row); m != nil {
			who := strings.TrimSpace(m[1])
			for _, suffix := range []string{" APP", " BOT"} {
				who = strings.TrimSuffix(who, suffix)
			}
			return turn{who, minutesOf(m[2:])}, true
		}
	case angleForm:
		var ok bool
		none.who, ok = nick(row[:min(len(row), 80)])
		return none, ok
	case nameForm:
		none.who = speaker(row)
		return none, none.who != ""
	case cueForm:
		timed := r.timed
		r.timed = cue.MatchString(row[:min(len(row), 80)])
		if m := voice.FindStringSubmatch(row[:min(len(row), 120)]); timed && m != nil {
			none.who = strings.TrimSpace(m[1])
			return none, true
		}
		if timed {
			none.who = speaker(row)
		}
		return none, none.who != ""
	}
	return none, false
}

// nick returns who speaks or acts in a line of a channel, "<ana> hello" or "* ana waves", and whether it is one.
func nick(row string) (who string, ok bool) {
	m := angled.FindStringSubmatch(row)
	if m == nil {
		m = acts.FindStringSubmatch(row)
	}
	if m == nil {
		return "", false
	}
	return strings.TrimSpace(m[1]), true
}

// speaker returns who a line says that speaks, or "".
func speaker(row string) string {
	head := row[:min(len(row), 140)]
	if !strings.ContainsAny(head, ":：") {
		return ""
	}
	m := spoken.FindStringSubmatch(strings.ToValidUTF8(head, ""))
	if m == nil {
		return ""
	}
	name := strings.TrimSpace(m[1])
	if len(name) > maxSpeakerBytes || strings.Count(name, " ") > 3 || notSpeakers[strings.ToLower(name)] ||
		strings.Contains(name, ". ") && !strings.Contains(name[:min(len(name), 5)], ". ") {
		return ""
	}
	return name
}

// clockNear reports whether the beginning of a line may have a time.
func clockNear(row string) bool {
	return strings.ContainsAny(row[:min(len(row), 120)], "0123456789")
}

// minutesOf is the time of the day that an hour, a minute and a letter of AM or PM say.
func minutesOf(m []string) int {
	hour, _ := strconv.Atoi(m[0]) // digits, as the pattern has it
	minute, _ := strconv.Atoi(m[1])
	switch m[2] {
	case "p", "P":
		hour = hour%12 + 12
	case "a", "A":
		hour %= 12
	}
	return (hour*60 + minute) % (24 * 60)
}

// formOf finds out how a transcript is written: as most of its first lines are, of those forms that tell more before others.
func formOf(text string) form {
	var counts [cueForm + 1]int
	n := 0
	for row := range strings.Lines(text) {
		row = strings.TrimRight(row, "\r\n")
		if strings.TrimSpace(row) == "" {
			continue
		}
		if n++; n > maxFormLines {
			break
		}
		if cue.MatchString(row[:min(len(row), 80)]) {
			counts[cueForm]++
			continue
		}
		for f := stampForm; f < cueForm; f++ {
			r := turnReader{form: f}
			if t, ok := r.next(row); ok && (f != stampForm || t.who != "") {
				counts[f]++
				break
			}
		}
	}
	best := noForm
	for f := cueForm; f > noForm; f-- { // the later tell less, but captions
		if counts[f] >= max(2, counts[best]) || counts[f] > 0 && f == cueForm {
			best = f
		}
		if best == cueForm {
			break
		}
	}
	return best
}

// transcript is a conversation that is being cut.
type transcript struct {
	*builder
	form    form
	reader  turnReader
	topic   string
	start   int  // of the turn being read
	begun   bool // a turn was seen
	turn    turn
	border  strength // before it
	caption int      // where the caption being read begins, or -1
	last    line     // the last line that is not empty
	empty   bool     // the line before is empty
}

// line reads a line.
func (t *transcript) line(l line) error {
	row := t.text[l.start:l.end]
	if strings.TrimSpace(row) == "" {
		t.empty = true
		return nil
	}
	begins := l.start
	if t.form == cueForm {
		if t.empty || l.start == 0 {
			t.caption = l.start
		}
		begins = t.caption
	}
	next, ok := t.reader.next(row)
	if t.form == cueForm && ok && t.begun && next.who == t.turn.who {
		ok = false // goes on in the next caption
	}
	if ok {
		if err := t.flush(begins); err != nil {
			return err
		}
		t.border = t.between(next)
		t.start, t.turn, t.begun = begins, next, true
	}
	t.last, t.empty = l, false
	return nil
}

// between returns the strength of the border between the turn being read and the next one.
func (t *transcript) between(next turn) strength {
	if !t.begun {
		return gapStrength
	}
	pause := next.minutes - t.turn.minutes
	switch {
	case next.minutes >= 0 && t.turn.minutes >= 0 && (pause >= pauseMinutes || pause < 0):
		return gapStrength
	case next.who != "" && next.who == t.turn.who:
		return goesOnStrength
	case endsWith(strings.TrimRight(t.text[t.last.start:t.last.end], " \t"), "?？؟"):
		return answerStrength
	}
	return blockStrength
}

// flush adds the turn being read, or what stands before the first.
func (t *transcript) flush(end int) error {
	start, end := t.trim(t.start, end)
	if start == end {
		return nil
	}
	if !t.begun {
		t.topic = topic(t.text[start:end])
		return t.paragraphs(start, end, blockStrength)
	}
	return t.block(start, end, t.border, t.long)
}

// long cuts a turn that does not fit.
func (t *transcript) long(start, end int, s strength) error {
	from, to := -1, -1
	flush := func() error {
		if from < 0 {
			return nil
		}
		err := t.block(from, to, s, t.prose)
		from, s = -1, insideStrength
		return err
	}
	err := t.lines(start, end, func(l line) error {
		if strings.TrimSpace(t.text[l.start:l.end]) == "" {
			return flush()
		}
		if from < 0 {
			from = l.start
		}
		to = l.end
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// topic is what the text before the first turn says that the conversation is about, or "".
func topic(s string) string {
	row, _, _ := strings.Cut(strings.TrimPrefix(s, "\ufeff"), "\n")
	row = strings.TrimSpace(row)
	if rest := strings.TrimLeft(row, "#"); len(rest) < len(row) {
		return clip(strings.TrimSpace(rest), maxTitleBytes)
	}
	name, value, ok := strings.Cut(row, ":")
	if !ok {
		return ""
	}
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "topic", "subject", "channel", "title", "thema", "betreff", "kanal":
		return clip(strings.TrimSpace(value), maxTitleBytes)
	}
	return ""
}

// headings gives every piece the topic and its speakers.
func (t *transcript) headings(pieces []Piece) {
	speakers := make([][]string, len(pieces))
	going, at := "", 0 // who speaks where the leaf before ends, and where that is
	for i, p := range pieces {
		if p.Level > 0 {
			continue
		}
		r := turnReader{form: t.form}
		if at > 0 && !strings.ContainsAny(t.text[at:p.Start], lineEnds) {
			r.form = noForm // the first line began before
		}
		at = p.End
		for row := range strings.Lines(t.text[p.Start:p.End]) {
			if turn, ok := r.next(strings.TrimRight(row, "\r\n")); ok {
				going = turn.who
			}
			if r.form = t.form; t.form == cueForm && (r.timed || strings.Trim(row, "0123456789 \t\r\n") == "") {
				continue // nobody speaks there
			}
			speakers[i] = withName(speakers[i], going)
		}
		if p.Parent >= 0 {
			for _, name := range speakers[i] {
				speakers[p.Parent] = withName(speakers[p.Parent], name)
			}
		}
	}
	for i, who := range speakers {
		var path []string
		if t.topic != "" {
			path = append(path, t.topic)
		}
		if len(who) > maxSpeakers {
			who[maxSpeakers] = "…"
		}
		if len(who) > 0 {
			path = append(path, strings.Join(who, ", "))
		}
		pieces[i].Heading = path
	}
}

// withName adds a name to a list that has it not yet, and is not too long.
func withName(list []string, name string) []string {
	if name == "" || len(list) > maxSpeakers || slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}
