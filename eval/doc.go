// Package eval measures how well a search finds what people judged to be
// relevant.
//
// It is made of four nouns. A [Collection] holds documents, questions and
// judgements, read from three files. [Qrels] are the judgements alone. A [Run]
// is what a search answered: for every question a list of document ids with
// scores. [Evaluate] holds a run against the judgements and gives [Scores]:
// one row of [Metrics] for each question and their mean. [Compare] says whether
// two runs differ by more than chance, and a [Report] is what a person or a
// program is shown at the end.
//
//	c, err := eval.Open(os.DirFS("cranfield"))
//	for doc, err := range c.Documents() { … store doc.Content() under doc.ID … }
//	run := eval.Run{}
//	for _, q := range c.Judged() {
//		run[q.ID] = eval.BestPassages(… the hits for q.Text …)
//	}
//	scores, err := eval.Evaluate(c.Qrels, run)
//
// The package knows no store and starts no search. Its numbers are those of
// NIST's trec_eval 9, and are tested against it; where trec_eval leaves a
// choice, the choice is written at the function.
package eval
