package chunk

import "context"

// ChunkWindows is Hierarchical's Chunk with Markdown parsed in windows of the given size.
func ChunkWindows(ctx context.Context, h Hierarchical, t Text, window int) ([]Piece, error) {
	return h.chunk(ctx, t, window)
}
