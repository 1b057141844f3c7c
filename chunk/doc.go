// Package chunk cuts texts into passages: leaves, which are embedded and searched, and parents, which are their context.
//
// [Hierarchical] is the chunker to use; its zero value is ready. [Chunker] is the contract any other one fulfils, [Func]
// makes one of a function.
//
//	pieces, err := chunk.Hierarchical{}.Chunk(ctx, chunk.Text{Content: text, Type: "markdown"})
//
// # What a leaf is
//
// Leaves hold the whole text but white space, each passage once. A leaf has at most 280 tokens and comes as near as the structure
// allows to the size aimed at for its document type:
//
//	type                                               leaf   parent
//	text, markdown, html, pdf, docx, report, unknown    210      600
//	business_report                                     210      600
//	legal_document                                      200      600
//	technical_doc                                       210      700
//	code                                                200      700
//	email                                               120      450
//	presentation, chat                                  100      400
//
// A single block (paragraph, list item, table, function) is kept whole up to half over the size aimed at, within the limit.
// What does not fit is cut at the next lower level: lines and sentences, clauses, words, and user-perceived characters last.
//
// Leaves of more than 130 tokens are embedded in parts, see [Piece.Parts] and [Parts].
//
// # Structure
//
// Text has paragraphs, parted by empty lines, the best of which to cut at are those between pages. Markdown is read by a CommonMark parser: headings open sections, lists fall
// into items, tables into rows, and fenced code is cut like code. Code is cut at empty lines and at the least indented lines
// first. Lines between equals signs are headings where there are no others. A leaf never holds the end of one section and the beginning of another, unless both are tiny, whole and of the same
// parent. A heading belongs to what stands under it.
//
// HTML is cut at its blocks, tags included; CSV between rows; slides at their pages. Source code is cut between declarations, each with
// its comment: Go is parsed, and of some twenty other languages the brackets or the indentation are followed, which is no parsing.
// Neighbouring declarations are put together as far as they fit into a leaf, and none that fits is cut. The header of a table is the
// last heading of the rows that are cut from it, and the names of the declarations in a leaf are its last heading.
//
// A message falls into its header, what its sender wrote, each run of quoted lines by depth, messages within it, and signatures; no
// leaf holds two of these, and their headings are the subject and who wrote them. A chat falls into turns, which are put together but
// cut only where they are too long; its headings are the topic and who speaks.
//
// Parents join two or more leaves: a section as a whole where it has the size, else neighbouring leaves of one section, or
// small sections of one parent.
//
// # Other strategies
//
// [Fixed] cuts after so many tokens, [Sentence] between sentences, [Semantic] where vectors tell that the subject changes. They have one
// size for all texts, no headings and no parents.
//
// # Edits
//
// Cuts depend on the text near them and not on the distance from the beginning, so that the passages, and with them ids and
// vectors, away from an edit stay as they are. An edit inside a paragraph changes at most three leaves outside of it, 0.3 on
// average; four were seen once in some 6,000 edits that put in or took out up to ten sentences.
//
// What is put in at the front of a text leaves the leaves behind it as they are where it ends with a section, a slide, or a page of at
// least half the size of a leaf. Where nothing but a paragraph or a declaration ends there, no place in the text tells that it once began
// there: its first paragraphs are put together with what is new, and one leaf more changes in two cases of five, two at most.
package chunk
