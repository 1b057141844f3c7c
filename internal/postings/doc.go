// Package postings is the text index: how it is written as bytes, merged, and
// searched. It knows nothing of where the bytes are kept; every store keeps
// the same ones.
//
// A leaf chunk of an owner has an ordinal: a number that grows and is never
// used twice. A segment holds the terms of the leaves of an ordinal range
// [Low, High) and never changes; leaves that are deleted later are kept apart
// in a [Set] of dead ordinals until segments are merged.
//
// # Blocks
//
// A block is what one segment knows of one term, as two byte strings.
// All numbers are unsigned varints (encoding/binary) unless said otherwise.
//
//	postings   count      number of postings, at least 1
//	           last       last ordinal, relative to Low
//	           maxtf      greatest term frequency
//	           minlen     least document length
//	           skips      size in bytes of the table and, for each run of 128
//	                      postings but the last: distance of its last ordinal
//	                      from that of the run before (from -1), bytes; only
//	                      if count is greater than 128
//	           count ×    delta<<1 | single, length, tf if single is 0
//	positions  count × tf × delta
//
// Postings stand in ascending order of ordinals, relative to the Low of their
// segment; delta is the distance to the one before (to -1 for the first), so
// it is at least 1. single says that the term frequency is 1. length is the
// length of the document in words. Positions are read for phrases only; they
// ascend within a document, delta is the distance to the one before (to 0 for
// the first) and may be 0. maxtf and minlen bound the score of every posting
// of the block.
//
// # Inline segments
//
// A small segment is kept as one byte string with all its blocks:
//
//	version    one byte, 1
//	count      number of terms
//	offsets    count × 4 bytes little-endian: where each entry begins,
//	           counted from the end of the offsets
//	entries    length and bytes of the term, of the postings, of the positions
//
// Entries are sorted by term, so a term is found by binary search.
//
// Whatever the bytes are, decoding gives the right numbers or [ErrCorrupt],
// never a panic. What a search need not read it does not check.
package postings
