// Package contextual has a language model write a line of context for each passage of a document: what the passage is about within the
// document, and the names and times that it relies on and does not say itself. It is searched and embedded with the passage, so that
// "its revenue grew by 3 %" is found by the name of the company. The method is Anthropic's (Introducing Contextual Retrieval, 2024).
// Beside it the model may write a summary of each passage, which is stored and returned.
//
//	writer := contextual.New(llm.Recommended(provider, nil), nil)
//	mem, err := llmemory.New(store, &llmemory.Config{Annotator: writer})
//
// # What it takes
//
// One call for each passage, with the document before it. The calls of one document begin with the same words, and the first is made
// alone, so that a provider that keeps what it has read has to read it once. A document that is longer than [Options.Window] is cut into
// stretches at the borders of passages: calls of one stretch have its text, some of its neighbours', and the beginning of the
// document before them. [Writer.Plan] tells beforehand what a document would take.
//
// # What is written
//
// Lines are of bounded length, plain text on one line. They are asked to hold nothing that shifts when text moves, such as numbers of
// pages and sections. What a document says may be meant to lead the model astray: then its own passages get lines that are wrong, and
// nothing else happens.
package contextual
