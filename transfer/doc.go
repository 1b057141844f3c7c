// Package transfer moves documents from one store to another, whatever these are: straight ([Copy]), or by way of a file ([Export],
// [Import]). What arrives is what was there: ids, dates, versions and metadata, the text cut as it was, the vectors of each
// generation bit for bit. The target makes the text index anew, which gives the same answers, and queues what has no vector.
//
// An interrupted import or copy is simply run again: what is there already, just so, is left alone. In the end everything that was
// written is read back and compared.
//
// # The file
//
// An export is text, a JSON object on each line. The first line is the header: format and version of the format, and the generations
// of vectors. Then comes a line for each document, and a last one that says how many there were, so that a file that was cut off is
// known as such. Each line ends with a member "sum", which is the beginning of the SHA-256 of the line before it, so that a line that
// was damaged is known too. Whoever changes a line takes its sum away: a line without one is not checked.
//
//	{"format":"llmemory export","version":3,"exported_at":…,"engine":"postgres","generations":[{"provider":"openai","model":…,"dimensions":1536,…}],"sum":"…"}
//	{"owner":"default","document_id":…,"origin_id":…,"key":…,"name":…,"type":"markdown","date":null,"metadata":{…},"language":"en",
//	 "content_hash":…,"no_vectors":false,"version":1,"created_at":…,"updated_at":…,"tail":"\n",
//	 "leaves":[{"chunk_id":…,"parent_id":…,"start":0,"end":812,"tokens":190,"parts":3,"heading":"Guide > Install","lead":"","text":…,"vectors":["…"]}],
//	 "parents":[{"chunk_id":…,"level":1,"start":0,"end":4071,"tokens":950,"heading":"Guide"}],"sum":"…"}
//	{"end":{"owners":[{"owner":"default","documents":1,"leaves":5,"parents":1,"vectors":[5]}]},"sum":"…"}
//
// (A line is one line, however long.) The text of a document is, for each leaf in turn, its lead, which is white space, and its text,
// and then the tail. Start and end are byte offsets into it. The vectors of a leaf are in the order of the header's generations, "" for
// none: little-endian float32 in base64, those of its parts one after the other; a leaf without "parts" has one. A document that has them also has "format", "markup", "title", "author", "source_hash" and
// "pages", which are the distances from each page's beginning to the next one's, unsigned varints in base64; a leaf, "context" and
// "summary". Files of version 1 have none of these, those of version 2 no parts. Ids derive from owner, origin, key and text, and are checked.
package transfer
