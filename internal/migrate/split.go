package migrate

import (
	"fmt"
	"strings"
)

// Statement is one statement of a script.
type Statement struct {
	// Text is the statement without the semicolon, and without the comments and
	// white space before it.
	Text string
	// Offset is where Text starts in the script, in bytes.
	Offset int
	// Tokens are its first words and quoted identifiers, enough to tell what kind
	// of statement it is.
	Tokens []Token
}

// Token is a word or a quoted identifier.
type Token struct {
	// Text is the word as written, or the identifier without its quotes.
	Text   string
	Quoted bool
}

// Is reports whether t is the keyword, given in upper case.
func (t Token) Is(keyword string) bool {
	return !t.Quoted && strings.EqualFold(t.Text, keyword)
}

// Identifier returns the name that t stands for: unquoted names are folded to
// lower case, as PostgreSQL does.
func (t Token) Identifier() string {
	if t.Quoted {
		return t.Text
	}
	return strings.ToLower(t.Text)
}

// Starts reports whether s begins with these keywords.
func (s Statement) Starts(keywords ...string) bool {
	if len(s.Tokens) < len(keywords) {
		return false
	}
	for i, k := range keywords {
		if !s.Tokens[i].Is(k) {
			return false
		}
	}
	return true
}

// maxTokens is more than the longest beginning anybody asks for.
const maxTokens = 12

// Split cuts a script into statements the way psql does: at semicolons outside
// of strings ('…', with backslashes in E'…'), dollar quotes, quoted
// identifiers, comments (which nest), parentheses, and SQL function bodies
// (BEGIN ATOMIC … END). Statements that hold only comments are dropped. The
// error gives the place where something is opened and never closed.
func Split(script string) ([]Statement, error) {
	s := splitter{text: script, start: -1}
	for s.pos < len(s.text) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.out, nil
}

type splitter struct {
	text   string
	pos    int
	out    []Statement
	start  int // of the current statement, -1 before its first token
	tokens []Token
	parens int
	// body is the depth within a BEGIN ATOMIC body: BEGIN and CASE open, END closes.
	body      int
	prevBegin bool // the last token was BEGIN
}

// step reads one token, comment, string or other character.
func (s *splitter) step() error {
	c := s.text[s.pos]
	switch {
	case c == '-' && s.has("--"):
		if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
			s.pos += i + 1
		} else {
			s.pos = len(s.text)
		}
		return nil
	case c == '/' && s.has("/*"):
		return s.comment()
	case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
		s.pos++
		return nil
	case c == ';' && s.parens == 0 && s.body == 0:
		s.end()
		s.pos++
		return nil
	}
	if s.start < 0 {
		s.start = s.pos
	}
	begin := s.prevBegin
	s.prevBegin = false
	switch {
	case c == '\'':
		return s.quoted('\'', false)
	case c == '"':
		from := s.pos
		if err := s.quoted('"', false); err != nil {
			return err
		}
		name := s.text[from+1 : s.pos-1]
		s.token(Token{Text: strings.ReplaceAll(name, `""`, `"`), Quoted: true})
		return nil
	case c == '$':
		return s.dollar()
	case (c == 'e' || c == 'E') && s.pos+1 < len(s.text) && s.text[s.pos+1] == '\'':
		s.pos++
		return s.quoted('\'', true)
	case wordStart(c):
		from := s.pos
		for s.pos < len(s.text) && wordPart(s.text[s.pos]) {
			s.pos++
		}
		s.word(Token{Text: s.text[from:s.pos]}, begin)
		return nil
	case c >= '0' && c <= '9':
		// Letters and $ that follow belong to the number or are an error: not to
		// a dollar quote.
		for s.pos < len(s.text) && wordPart(s.text[s.pos]) {
			s.pos++
		}
		return nil
	case c == '(':
		s.parens++
	case c == ')':
		s.parens = max(s.parens-1, 0)
	}
	s.pos++
	return nil
}

func (s *splitter) has(prefix string) bool { return strings.HasPrefix(s.text[s.pos:], prefix) }

func wordStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func wordPart(c byte) bool { return wordStart(c) || c >= '0' && c <= '9' || c == '$' }

// word takes a keyword or name; begin says that the word before it was BEGIN.
func (s *splitter) word(t Token, begin bool) {
	switch {
	case s.body > 0 && t.Is("CASE"):
		s.body++
	case s.body > 0 && t.Is("END"):
		s.body--
	case begin && t.Is("ATOMIC") && len(s.tokens) > 0 && s.tokens[0].Is("CREATE"):
		s.body = 1
	}
	s.prevBegin = t.Is("BEGIN")
	s.token(t)
}

func (s *splitter) token(t Token) {
	if len(s.tokens) < maxTokens {
		s.tokens = append(s.tokens, t)
	}
}

// end finishes the current statement at pos.
func (s *splitter) end() {
	if s.start >= 0 {
		s.out = append(s.out, Statement{
			Text:   strings.TrimRight(s.text[s.start:s.pos], " \t\n\r\f\v"),
			Offset: s.start,
			Tokens: s.tokens,
		})
	}
	s.start, s.tokens, s.parens, s.body, s.prevBegin = -1, nil, 0, 0, false
}

// comment skips a block comment.
func (s *splitter) comment() error {
	from, depth := s.pos, 0
	for s.pos < len(s.text) {
		switch {
		case s.has("/*"):
			depth++
			s.pos += 2
		case s.has("*/"):
			depth--
			s.pos += 2
		default:
			s.pos++
		}
		if depth == 0 {
			return nil
		}
	}
	return &OpenError{Offset: from, What: "comment"}
}

// quoted skips a string or quoted identifier. A doubled quote needs no care: it
// ends one and starts the next.
func (s *splitter) quoted(quote byte, backslashes bool) error {
	from := s.pos
	for {
		s.pos++
		if s.pos >= len(s.text) {
			what := "string"
			if quote == '"' {
				what = "quoted identifier"
			}
			return &OpenError{Offset: from, What: what}
		}
		switch c := s.text[s.pos]; {
		case c == quote:
			s.pos++
			if s.pos < len(s.text) && s.text[s.pos] == quote {
				continue // doubled
			}
			return nil
		case c == '\\' && backslashes:
			s.pos++
		}
	}
}

// dollar skips a dollar-quoted string, or just a $.
func (s *splitter) dollar() error {
	from := s.pos
	i := s.pos + 1
	for i < len(s.text) && s.text[i] != '$' && wordPart(s.text[i]) {
		if i == s.pos+1 && !wordStart(s.text[i]) { // $1
			break
		}
		i++
	}
	if i >= len(s.text) || s.text[i] != '$' {
		s.pos++
		return nil
	}
	tag := s.text[s.pos : i+1]
	end := strings.Index(s.text[i+1:], tag)
	if end < 0 {
		return &OpenError{Offset: from, What: "dollar-quoted string " + tag}
	}
	s.pos = i + 1 + end + len(tag)
	return nil
}

// OpenError reports that something is never closed.
type OpenError struct {
	Offset int // where it opens, in bytes
	What   string
}

// Error implements error.
func (e *OpenError) Error() string { return fmt.Sprintf("%s is not closed", e.What) }
