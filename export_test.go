package llmemory

// SetBounds makes edits hold less in memory: bytes of terms, of a segment that is being built, of pages.
func SetBounds(m *Memory, terms, segment, held int) {
	m.bounds = bounds{terms: terms, segment: segment, held: held}
}
