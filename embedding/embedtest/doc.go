// Package embedtest helps to test what uses embedders, offline and the same each time.
//
// Its embedder knows no meaning: [Vector] hashes the words of a text, so that texts are near each other exactly as far as they
// share words. "Car" and "automobile" have nothing in common. Use it to see that vectors are made, stored, found and replaced;
// not to judge how good a search is.
//
//   - [New] makes an [Embedder] that runs in the process, with delays and faults as told.
//   - [NewServer] starts a local HTTP server that behaves like the endpoint of OpenAI, and misbehaves like real ones on request.
//   - [Matches] and [Mark] tell which text a stored vector was made of.
package embedtest
