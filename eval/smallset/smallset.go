// Package smallset is a small retrieval collection for tests: 45 documents in
// English, German and Spanish, 15 each, and 51 questions with graded
// judgements, in the form that package eval reads.
//
//	c, err := eval.Open(smallset.FS())
//
// The documents were written for it: recipes, leases, runbooks, leaflets, chats,
// statutes. Several share a subject, so that a ranking is more than finding the
// one page about bread. Nine are of 250 words and more, and hide the answer to
// a question in one of their later sections. Questions put things in their own
// words and need one document (grade 2), sometimes another that helps (grade 1).
//
// An id is language, slash, name ("de/imkerei"); questions ("de/q15") are about
// documents of their own language, and no subject is treated in two languages,
// so judgements hold whether all languages are searched at once or each alone.
//
// A collection of this size finds faults, such as a stage that ranks by the
// wrong number or a language analysed as another. It is too small to choose
// between two good methods.
package smallset

import (
	"embed"
	"io/fs"
)

//go:embed corpus.jsonl queries.jsonl qrels.tsv
var files embed.FS

// FS returns the collection's files: corpus.jsonl, queries.jsonl and qrels.tsv.
func FS() fs.FS { return files }
