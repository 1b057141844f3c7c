package chunk

import (
	"errors"
	"strings"
	"unicode"
)

// partStrength is that of borders between the parts of a message. No leaf holds two parts, however small they are.
const partStrength strength = 200

const (
	maxQuoteDepth  = 40      // that is told apart
	maxPersonBytes = 100     // of a name
	maxParts       = 1 << 14 // of a message that are told apart; who quotes line by line without an end wants something else
)

// email cuts a message into its parts: the header; what the sender wrote; each run of lines that are quoted to the same depth; the
// header and the body of a message that is forwarded or quoted without marks; a signature. No leaf holds two of them, so that nobody
// is found with the words of another. Their headings are the subject and who wrote them, where that is said: in the header, or in a
// line such as "On Monday, Ana wrote:", which goes with what it introduces.
func (b *builder) email() error {
	m := message{builder: b}
	if end := m.headEnd(); end > 0 {
		m.from(readHead(b.text[:end], end))
		if err := b.block(0, end, partStrength, b.codeLines); err != nil {
			return err
		}
		m.start = end
	}
	m.heads = m.headsAt(0)
	if err := b.lines(m.start, len(b.text), m.line); err != nil {
		return err
	}
	return m.begin(len(b.text), nil)
}

// message is a message that is being cut.
type message struct {
	*builder
	subject string
	writers []string // of what is quoted, by depth; "" for whom nobody names

	// The part that is being read:
	start  int // where it begins
	heads  []string
	depth  int    // of quotation
	inHead bool   // it is the header of a message within
	recent []line // its last lines that are not empty, at most three
	empty  int    // empty lines since
	parts  int    // how many there are so far
}

// begin ends the part that is being read and begins another one.
func (m *message) begin(at int, heads []string) error {
	start, end := m.trim(m.start, at)
	quoted := m.depth > 0
	if start < end {
		m.parts++
		if m.heads != nil || len(m.outline) > 0 {
			m.outline = append(m.outline, heading{start: start, path: m.heads})
		}
		var err error
		if quoted {
			err = m.quotation(start, end)
		} else {
			err = m.paragraphs(start, end, partStrength)
		}
		if err != nil {
			return err
		}
	}
	m.start, m.heads, m.inHead, m.recent, m.empty = at, heads, false, m.recent[:0], 0
	return nil
}

// line reads a line of the body.
func (m *message) line(l line) error {
	depth, rest := quoteDepth(m.text[l.start:l.end])
	if strings.TrimSpace(rest) == "" {
		m.empty++
		if m.inHead && len(m.recent) > 1 { // not the line that says that it follows
			return m.begin(l.start, m.heads)
		}
		return nil
	}
	if m.parts < maxParts {
		if err := m.border(l, depth, rest); err != nil {
			return err
		}
	}
	if len(m.recent) == 3 {
		m.recent = m.recent[:copy(m.recent, m.recent[1:])]
	}
	m.recent, m.empty = append(m.recent, l), 0
	return nil
}

// border begins a new part where one begins with a line.
func (m *message) border(l line, depth int, rest string) error {
	switch {
	case depth != m.depth:
		start := l.start
		if depth > m.depth {
			start = m.introduction(depth, l.start)
		}
		if err := m.begin(start, m.headsAt(depth)); err != nil {
			return err
		}
		m.depth = depth
	case depth == 0 && !m.inHead && forwards(rest):
		return m.within(l.start, readHead(firstLines(m.text[l.end:]), maxStrange))
	case depth == 0 && !m.inHead:
		start := l.start
		if n := len(m.recent); n > 0 {
			if last := m.recent[n-1]; strings.Trim(m.text[last.start:last.end], "_-= ") == "" { // a rule above it
				start = last.start
			} else if m.empty == 0 {
				break
			}
		}
		if name, _ := headField(rest); name == "from" {
			if h := readHead(firstLines(m.text[l.start:]), maxStrange); len(h) >= 3 {
				return m.within(start, h)
			}
		}
	}
	if mark := strings.TrimRight(rest, "\t"); mark == "-- " || mark == "--" {
		return m.begin(l.start, m.heads)
	}
	return nil
}

// within begins the header of a message within this one.
func (m *message) within(at int, head map[string]string) error {
	m.from(head)
	if err := m.begin(at, m.headsAt(0)); err != nil {
		return err
	}
	m.inHead = len(head) > 0
	return nil
}

// from takes over what a header says.
func (m *message) from(head map[string]string) {
	if s := head["subject"]; s != "" {
		m.subject = s
	}
	m.writers = append(m.writers[:0], person(head["from"]))
}

// headsAt are the headings of what is quoted to a depth.
func (m *message) headsAt(depth int) (out []string) {
	if m.subject != "" {
		out = append(out, m.subject)
	}
	if depth < len(m.writers) && m.writers[depth] != "" {
		out = append(out, m.writers[depth])
	}
	return out
}

// introduction returns where the lines begin that introduce a quotation, such as "On Monday, Ana wrote:", or where the quotation
// begins when nothing does. It notes the writer.
func (m *message) introduction(depth, at int) int {
	for len(m.writers) < depth {
		m.writers = append(m.writers, "")
	}
	if m.empty > 1 || len(m.recent) == 0 {
		return at
	}
	text := ""
	for i := len(m.recent) - 1; i >= 0; i-- {
		l := m.recent[i]
		_, row := quoteDepth(m.text[l.start:l.end])
		if len(row) > 300 {
			return at
		}
		text = strings.TrimSpace(row) + " " + text
		opened := opens(row)
		if who, ok := writer(text); ok && (opened || i == len(m.recent)-1 && !m.openedBefore(i)) {
			m.writers = append(m.writers[:depth], who)
			return l.start
		}
		if opened {
			return at
		}
	}
	return at
}

// openedBefore reports whether an introduction that ends on a recent line begins on one before it.
func (m *message) openedBefore(i int) bool {
	for _, l := range m.recent[:i] {
		if _, row := quoteDepth(m.text[l.start:l.end]); opens(row) {
			return true
		}
	}
	return false
}

// quotation cuts quoted lines at those that are empty but for the marks, which stay with what is before them.
func (m *message) quotation(start, end int) error {
	from, to, s := -1, -1, partStrength
	text, gap := false, false
	flush := func() error {
		if from < 0 {
			return nil
		}
		err := m.block(from, to, s, m.prose)
		from, text, s = -1, false, blockStrength
		return err
	}
	err := m.lines(start, end, func(l line) error {
		row := m.text[l.start:l.end]
		if strings.TrimSpace(row) == "" {
			gap = true
			return nil
		}
		_, rest := quoteDepth(row)
		blank := strings.TrimSpace(rest) == ""
		if !blank && gap && text {
			if err := flush(); err != nil {
				return err
			}
		}
		if from < 0 {
			from = l.start
		}
		to, gap, text = l.end, blank, text || !blank
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// quoteDepth counts the marks of quotation at the beginning of a line, and returns the rest without the space after them.
func quoteDepth(row string) (depth int, rest string) {
	rest = strings.TrimPrefix(row, "\ufeff")
	for {
		next := strings.TrimPrefix(rest, " ")
		if !strings.HasPrefix(next, ">") {
			if depth > 0 {
				rest = next
			}
			return min(depth, maxQuoteDepth), rest
		}
		depth, rest = depth+1, next[1:]
	}
}

// headFields are the fields of a header as mail programs write them, also within a body, in several languages.
var headFields = func() map[string]string {
	m := map[string]string{}
	for name, words := range map[string]string{
		"from":    "from von de da van från fra от od 发件人 差出人 보낸사람",
		"to":      "to an à a para aan till til кому do 收件人 宛先 받는사람",
		"cc":      "cc kopie copie kopia копия 抄送",
		"date":    "date sent datum gesendet envoyé enviado enviada inviato verzonden fecha data skickat sendt дата wysłano 日期 发送时间 日時 送信日時",
		"subject": "subject betreff objet asunto oggetto onderwerp assunto ämne emne тема temat 主题 件名 제목",
	} {
		for word := range strings.FieldsSeq(words) {
			m[word] = name
		}
	}
	return m
}()

// headField returns which field of a header a line is, and its value.
func headField(row string) (name, value string) {
	n := strings.IndexAny(row[:min(len(row), 60)], ":：")
	if n < 0 {
		return "", ""
	}
	value = strings.TrimLeft(row[n:], ":：")
	return headFields[strings.ToLower(strings.Trim(row[:n], " \t*"))], strings.Trim(value, " \t*\r\n")
}

// maxStrange is how many lines that are no known field the header of a message within another may have.
const maxStrange = 5

// readHead returns the values of the fields at the beginning of a text, folded lines included, up to an empty line or too many that are
// no known field.
func readHead(text string, strange int) map[string]string {
	out := map[string]string{}
	last := ""
	for row := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		if strings.TrimSpace(row) == "" {
			if len(out) > 0 {
				break
			}
			continue
		}
		if row[0] == ' ' || row[0] == '\t' {
			if last != "" && len(out[last]) < 4*maxTitleBytes {
				out[last] += " " + strings.TrimSpace(row)
			}
			continue
		}
		last = ""
		name, value := headField(row)
		if name == "" {
			if strange--; strange < 0 {
				break
			}
		} else if out[name] == "" {
			last, out[name] = name, value
		}
	}
	for name, value := range out {
		out[name] = clip(strings.Join(strings.Fields(value), " "), maxTitleBytes)
	}
	return out
}

// firstLines is the beginning of a text, as long as a header within a body may be.
func firstLines(s string) string { return shorten(s, 2000) }

// clip cuts a text at a space.
func clip(s string, limit int) string {
	cut := shorten(s, limit)
	if n := strings.LastIndexByte(cut, ' '); n > 0 && len(cut) < len(s) {
		return cut[:n]
	}
	return cut
}

var errStop = errors.New("enough")

// headEnd returns the end of the header that the text begins with: nothing but fields up to an empty line, one of which is known. It is
// 0 where there is none.
func (m *message) headEnd() int {
	end, known := 0, false
	err := m.lines(0, len(m.text), func(l line) error {
		row := strings.TrimPrefix(m.text[l.start:l.end], "\ufeff")
		switch {
		case strings.TrimSpace(row) == "":
			if end == 0 {
				return nil
			}
			return errStop
		case end > 0 && (row[0] == ' ' || row[0] == '\t'):
		default:
			n := strings.IndexByte(row, ':')
			if n <= 0 || strings.ContainsAny(strings.TrimRight(row[:n], " \t"), " \t") {
				known = false
				return errStop
			}
			name, _ := headField(row)
			known = known || name != ""
		}
		end = l.end
		return nil
	})
	if !known || err != nil && !errors.Is(err, errStop) {
		return 0
	}
	return end
}

// forwards reports whether a line says that another message follows: "---------- Forwarded message ----------".
func forwards(row string) bool {
	inner := strings.Trim(row, "-_=* \t>")
	if len(inner) == 0 || len(inner) > 60 {
		return false
	}
	inner = strings.ToLower(strings.TrimSuffix(inner, ":"))
	marked := strings.HasPrefix(strings.TrimSpace(row), "--") || strings.HasPrefix(strings.TrimSpace(row), "__")
	for _, s := range []string{"original message", "forwarded message", "original appointment", "ursprüngliche nachricht",
		"weitergeleitete nachricht", "original-nachricht", "message d'origine", "message transféré", "mensaje original", "mensaje reenviado",
		"messaggio originale", "messaggio inoltrato", "oorspronkelijk bericht", "doorgestuurd bericht", "mensagem original",
		"mensagem encaminhada", "ursprungligt meddelande", "пересылаемое сообщение", "исходное сообщение", "转发邮件信息", "原始邮件"} {
		if marked && strings.HasPrefix(inner, s) || inner == "begin "+s || inner == "anfang der weitergeleiteten nachricht" {
			return true
		}
	}
	return false
}

// openers are words that an introduction of a quotation begins with, where it begins with the date.
var openers = []string{"On ", "Am ", "Le ", "El ", "Il ", "Em ", "Op ", "Den ", "W dniu ", "Dnia ", "At "}

func opens(row string) bool {
	for _, o := range openers {
		if strings.HasPrefix(row, o) {
			return true
		}
	}
	return false
}

// verbs are what introductions of quotations have.
var verbs = []string{" wrote", " writes", " schrieb", " a écrit", " escribió", " escreveu", " ha scritto", " schreef", " skrev", " napisał",
	" пишет", " написал", "写道", " said", " sent"}

// writer reads an introduction: whom it names, which may be nobody, and whether it is one.
func writer(s string) (who string, ok bool) {
	s = strings.TrimSpace(s)
	if !endsWith(s, ":：") && !strings.HasSuffix(s, "wrote") {
		return "", false
	}
	s = strings.TrimRight(s, ":： ")
	for _, verb := range verbs {
		n := strings.LastIndex(s, verb)
		if n < 0 {
			continue
		}
		before, after := s[:n], s[n+len(verb):]
		if r := []rune(after); len(r) > 0 && unicode.IsLetter(r[0]) && verb != "写道" && verb != " написал" && verb != " napisał" {
			continue // in another word
		}
		if who = named(before); who == "" {
			who = named(strings.TrimPrefix(after, " ") + " ")
		}
		return who, true
	}
	return "", false
}

// named finds the name in the part of an introduction before or after its verb.
func named(s string) string {
	address := ""
	if i := strings.LastIndexByte(s, '<'); i >= 0 {
		if j := strings.IndexByte(s[i:], '>'); j > 0 {
			address = clip(strings.TrimSpace(strings.TrimPrefix(s[i+1:i+j], "mailto:")), maxPersonBytes)
			s = s[:i]
		}
	}
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '"'); i > 0 && i == len(s)-1 {
		if j := strings.LastIndexByte(s[:i], '"'); j >= 0 {
			if quoted := strings.TrimSpace(s[j+1 : i]); quoted != "" {
				return clip(quoted, maxPersonBytes)
			}
		}
	}
	dated := opens(s + " ")
	fields := strings.Fields(s)
	from := 0 // what the name begins with, after the date
	for i, f := range fields {
		if strings.ContainsAny(f, "0123456789") && !strings.Contains(f, "@") || dated && strings.HasSuffix(f, ",") {
			from = i + 1
		}
	}
	if from == 0 && dated {
		return address
	}
	for from < len(fields) && notNames[strings.ToLower(strings.Trim(fields[from], ".,"))] {
		from++
	}
	name := strings.Trim(strings.Join(fields[from:], " "), `"'(, `)
	if name == "" {
		return address
	}
	return clip(name, maxPersonBytes)
}

// notNames are words that stand between a date and a name.
var notNames = map[string]bool{"am": true, "pm": true, "a.m": true, "p.m": true, "at": true, "um": true, "uhr": true, "h": true, "gmt": true,
	"utc": true, "cet": true, "cest": true, "est": true, "edt": true, "pst": true, "pdt": true, "à": true, "a las": true, "the": true, "user": true,
	"-": true, "–": true, "|": true, "alle": true, "ore": true, "om": true, "kl": true}

// person is the name in the value of a field "From", or else the address.
func person(v string) string {
	name, rest, angle := strings.Cut(v, "<")
	name = strings.TrimSpace(strings.Trim(strings.TrimSpace(name), `"'`))
	switch {
	case angle && name == "":
		name, _, _ = strings.Cut(rest, ">")
	case !angle:
		if address, comment, ok := strings.Cut(v, "("); ok && strings.Contains(address, "@") {
			name, _, _ = strings.Cut(comment, ")")
		}
		name, _, _ = strings.Cut(name, "[mailto:")
	}
	return clip(strings.TrimSpace(name), maxPersonBytes)
}
