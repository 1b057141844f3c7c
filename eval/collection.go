package eval

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The three files of a collection.
const (
	corpusFile  = "corpus.jsonl"
	queriesFile = "queries.jsonl"
	qrelsFile   = "qrels.tsv"
)

// maxLine is the longest line a collection may have, in bytes without its line
// end: as much as one document may hold by default.
const maxLine = 64 << 20

// Document is one document of a collection.
type Document struct {
	ID    string
	Title string // may be empty
	Text  string // may be empty
}

// Content returns what is to be stored and searched: the title, a blank line
// and the text. When title or text is blank (nothing but white space), it
// returns the other alone, and "" when both are: such a document holds nothing
// to search and is to be skipped, and counted, by the caller.
func (d Document) Content() string {
	hasTitle, hasText := strings.TrimSpace(d.Title) != "", strings.TrimSpace(d.Text) != ""
	switch {
	case hasTitle && hasText:
		return d.Title + "\n\n" + d.Text
	case hasTitle:
		return d.Title
	case hasText:
		return d.Text
	default:
		return ""
	}
}

// Query is one question of a collection.
type Query struct {
	ID   string
	Text string
}

// Collection is a set of documents, questions about them, and judgements which
// documents answer which question. Documents are not held in memory: see
// [Collection.Documents].
type Collection struct {
	// Queries in the order of their file, judged or not.
	Queries []Query
	// Qrels are the judgements. Every id in them is a document's or a query's.
	Qrels Qrels

	fsys      fs.FS
	documents int
}

// LineError tells where a collection's file is wrong.
type LineError struct {
	File string // name within the collection, e.g. "qrels.tsv"
	Line int    // counted from 1
	Err  error
}

// Error returns "file:line: what is wrong".
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the fault without its place.
func (e *LineError) Unwrap() error { return e.Err }

// Open reads the collection in fsys, which has three files in UTF-8:
//
//   - corpus.jsonl: one JSON object a line with the strings "_id", "text" and,
//     if there is one, "title"; other fields are ignored;
//   - queries.jsonl: one JSON object a line with the strings "_id" and "text";
//   - qrels.tsv: a header line, then query id, document id and grade, separated
//     by tabs. A grade is a whole number; above zero it means relevant.
//
// Open checks all of it, the corpus included, before it returns: nobody should
// learn of a bad line after an hour of embedding. Malformed and blank lines,
// lines above 64 MiB, ids that are empty or occur twice, and judgements that
// name an unknown document or query, or a pair already judged, are each a
// [*LineError]. Open refuses a collection in which no query has a relevant
// document, since nothing can be measured with it.
func Open(fsys fs.FS) (*Collection, error) {
	c := &Collection{fsys: fsys, Qrels: Qrels{}}

	docIDs := map[string]bool{}
	for d, err := range c.Documents() {
		if err != nil {
			return nil, err
		}
		docIDs[d.ID] = true
	}
	c.documents = len(docIDs)

	queryIDs := map[string]bool{}
	for rec, err := range records(fsys, queriesFile) {
		if err != nil {
			return nil, err
		}
		c.Queries = append(c.Queries, Query{ID: rec.id, Text: rec.text})
		queryIDs[rec.id] = true
	}

	if err := c.readQrels(docIDs, queryIDs); err != nil {
		return nil, err
	}
	if len(c.Judged()) == 0 {
		return nil, fmt.Errorf("%s: %w", qrelsFile, ErrNothingRelevant)
	}
	return c, nil
}

// Len returns the number of documents in the collection, empty ones included.
func (c *Collection) Len() int { return c.documents }

// Judged returns the queries that have at least one relevant document, in the
// order of their file: those, and only those, count in [Evaluate].
func (c *Collection) Judged() []Query {
	var judged []Query
	for _, q := range c.Queries {
		if relevant(c.Qrels[q.ID]) > 0 {
			judged = append(judged, q)
		}
	}
	return judged
}

// Documents reads the documents one by one, in the order of their file, so that
// memory holds one of them and the ids, however large the corpus. The file was
// checked by [Open]; an error means that it has changed or cannot be read any
// more, and ends the sequence. Each call reads anew.
func (c *Collection) Documents() iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for rec, err := range records(c.fsys, corpusFile) {
			if !yield(Document{ID: rec.id, Title: rec.title, Text: rec.text}, err) {
				return
			}
		}
	}
}

func (c *Collection) readQrels(docIDs, queryIDs map[string]bool) error {
	sawHeader := false
	for ln, err := range lines(c.fsys, qrelsFile, maxLine) {
		if err != nil {
			return err
		}
		fail := func(format string, args ...any) error {
			return &LineError{File: qrelsFile, Line: ln.number, Err: fmt.Errorf(format, args...)}
		}
		fields := strings.Split(string(ln.text), "\t")
		if len(fields) != 3 {
			return fail("has %d fields separated by tabs, want 3: query id, document id, grade", len(fields))
		}
		query, doc := fields[0], fields[1]
		grade, gradeErr := strconv.ParseInt(fields[2], 10, 32)
		if !sawHeader {
			// A file without a header would lose its first judgement unseen.
			if gradeErr == nil {
				return fail("is a judgement, want a header line")
			}
			sawHeader = true
			continue
		}
		switch {
		case gradeErr != nil:
			return fail("grade %q is not a whole number within 32 bits", fields[2])
		case !queryIDs[query]:
			return fail("query %q is not in %s", query, queriesFile)
		case !docIDs[doc]:
			return fail("document %q is not in %s", doc, corpusFile)
		}
		if _, twice := c.Qrels[query][doc]; twice {
			return fail("query %q and document %q are judged twice", query, doc)
		}
		if c.Qrels[query] == nil {
			c.Qrels[query] = map[string]int{}
		}
		c.Qrels[query][doc] = int(grade)
	}
	return nil
}

// record is one line of corpus.jsonl or queries.jsonl.
type record struct{ id, title, text string }

// records reads a JSON Lines file. Ids are unique, and the queries' texts are
// not blank.
func records(fsys fs.FS, name string) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		seen := map[string]int{} // id → line
		for ln, err := range lines(fsys, name, maxLine) {
			if err != nil {
				yield(record{}, err)
				return
			}
			rec, err := parseRecord(ln.text)
			first, twice := seen[rec.id]
			switch {
			case err != nil:
			case twice:
				err = fmt.Errorf("id %q was used on line %d", rec.id, first)
			case name == queriesFile && strings.TrimSpace(rec.text) == "":
				err = errors.New(`"text" is blank`)
			}
			if err != nil {
				yield(record{}, &LineError{File: name, Line: ln.number, Err: err})
				return
			}
			seen[rec.id] = ln.number
			if !yield(rec, nil) {
				return
			}
		}
	}
}

func parseRecord(text []byte) (record, error) {
	// Pointers, to tell an absent field from an empty one: a corpus that names
	// its text "contents" is to be refused, not read as empty documents.
	var raw struct {
		ID    *string `json:"_id"`
		Title string  `json:"title"`
		Text  *string `json:"text"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return record{}, fmt.Errorf("is not a JSON object of strings: %w", err)
	}
	switch {
	case raw.ID == nil || *raw.ID == "":
		return record{}, errors.New(`"_id" is missing or empty`)
	case strings.ContainsAny(*raw.ID, "\t\r\n"):
		return record{}, fmt.Errorf("id %q holds a tab or a line break", *raw.ID)
	case raw.Text == nil:
		return record{}, errors.New(`"text" is missing`)
	}
	return record{id: *raw.ID, title: raw.Title, text: *raw.Text}, nil
}

// line is valid until the next one is read.
type line struct {
	number int
	text   []byte
}

// lines reads a file line by line; a line ends with LF or CRLF, the last one
// may lack it. Blank lines, invalid UTF-8 (encoding/json would replace it
// silently) and lines of more than limit bytes are errors, and end the sequence.
func lines(fsys fs.FS, name string, limit int) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := fsys.Open(name)
		if err != nil {
			yield(line{}, fmt.Errorf("open collection: %w", err))
			return
		}
		defer f.Close()

		sc := bufio.NewScanner(f)
		sc.Buffer(nil, limit+4) // room for CRLF, and for a byte to see that there is more
		number := 0
		for sc.Scan() {
			number++
			text := sc.Bytes()
			var bad error
			switch {
			case len(text) > limit:
				bad = fmt.Errorf("is longer than %d bytes", limit)
			case len(bytes.TrimSpace(text)) == 0:
				bad = errors.New("is blank")
			case !utf8.Valid(text):
				bad = errors.New("is not valid UTF-8")
			}
			if bad != nil {
				yield(line{}, &LineError{File: name, Line: number, Err: bad})
				return
			}
			if !yield(line{number: number, text: text}, nil) {
				return
			}
		}
		switch err := sc.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(line{}, &LineError{File: name, Line: number + 1, Err: fmt.Errorf("is longer than %d bytes", limit)})
		case err != nil:
			yield(line{}, fmt.Errorf("read %s: %w", name, err))
		}
	}
}
