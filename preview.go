package llmemory

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
)

// Preview does all that AddMany does but for storing documents and asking the embedder and the annotator: it tells what would become of each of them, how
// many tokens would be embedded, and what the annotator would take. Documents of one call are compared with what is stored, not with each other.
func (o *Owner) Preview(ctx context.Context, docs []Document) ([]Added, error) {
	return (&Owner{memory: o.memory, id: o.id, dry: true}).AddMany(ctx, docs)
}

// previewOne tells what would become of a document that is not known to stay as it is.
func (o *Owner) previewOne(ctx context.Context, p *prepared) Added {
	var kept atomic.Int64
	if !p.cut {
		if err := o.complete(ctx, ctx, p, &kept); err != nil {
			return failed(err)
		}
		if p.container {
			return p.result
		}
	}
	out := p.result
	out.Status, out.Chunks = Created, len(p.leaves)
	stored := map[string]*ChunkRecord{}
	bare := false
	if p.known {
		d, chunks, err := o.document(ctx, DocumentParams{DocumentID: p.record.ID, Leaves: true})
		switch {
		case errors.Is(err, ErrNotFound): // deleted just now
		case err != nil:
			return Added{DocumentID: p.record.ID, Status: Failed, Err: err}
		default:
			out.Status, bare = Updated, d.NoVectors
			for i := range chunks {
				stored[chunks[i].ID] = &chunks[i]
			}
		}
	}
	for i := range p.leaves {
		c := &p.leaves[i].record
		old := stored[c.ID]
		same := old != nil && bytes.Equal(old.InputHash, c.InputHash) && !p.leaves[i].wanted
		if same {
			out.ChunksReused++
		}
		if e := o.memory.config.Embedder; e != nil && !p.record.NoVectors && (!same || bare) {
			input := JobInput{Name: p.record.header(), Heading: c.Heading, Context: c.Context, Text: c.Text, Parts: c.Parts}
			out.Tokens += countTokens(e, &input)
		}
	}
	if out.Tokens > 0 {
		out.Tokens += out.Usage.Output // the lines of context will be embedded, too
	}
	return out
}
