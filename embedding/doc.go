// Package embedding turns texts into vectors: the contract of embedders, and what makes any of them dependable.
//
// An [Embedder] is two methods; [Func] makes one of a function. Its [ModelInfo] says which space its vectors belong to. Providers
// are packages of their own, such as embedding/openai. They ask a model and do nothing else; the rest is wrapped around them:
//
//	e := embedding.Recommended(openai.New(openai.Config{APIKey: key}), nil)
//	vectors, err := e.Embed(ctx, embedding.Query, []string{"project timeline"})
//
// # Decorators
//
// Each adds one concern to an embedder and is one again. [Recommended] puts them together in the order in which they belong.
//
//	Batch    splits long lists by number and tokens
//	Retry    repeats what failed for a time, as the provider says or with jitter
//	Limit    keeps to requests and tokens per minute, and leaves room for queries
//	Breaker  leaves a provider alone that is down
//	Verify   refuses NaN, infinity, zeros, wrong numbers and wrong dimensions
//	Reuse    keeps vectors of questions, for each scope apart
//
// # Many texts
//
// Embed is all or nothing. [Each] embeds every text for itself: it yields vectors as they come, so that they can be stored before
// anything else happens, and finds the one text that a provider refuses.
//
//	for first, results := range embedding.Each(ctx, e, embedding.Passage, texts) {
//		// results[i] belongs to texts[first+i]: store the vectors, look at the errors
//	}
//
// # Errors
//
// An [*Error] has a [Kind], which tells who can act. Two questions matter to whoever keeps a queue: [Temporary], try the same again
// later; and [InputFault], this text will not get a vector from this model. Where neither holds, somebody has to look at the key, the
// model's name or the address.
//
// A server that breaks down (500) over one particular text, or is too slow for a batch of that size, looks like one that is down:
// whoever repeats a batch that keeps failing should repeat it in smaller parts.
package embedding
