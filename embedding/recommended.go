package embedding

// Options are those of the decorators that [Recommended] puts around an embedder. The zero value is ready to use and sets no rate
// limit.
type Options struct {
	Batch   BatchOptions
	Retry   RetryOptions
	Limit   LimitOptions
	Breaker BreakerOptions
}

// Recommended makes a provider dependable: [Batch], in it [Retry], in it [Limit], in it [Breaker], in it [Verify]. So each part of
// a batch is retried alone, each attempt keeps to the limit and counts for the breaker, and a bad vector gets no further than the
// provider. Make one per provider and share it: limit and breaker know only what passes through them. A nil o means defaults.
func Recommended(e Embedder, o *Options) Embedder {
	if o == nil {
		o = &Options{}
	}
	return Batch(Retry(Limit(Breaker(Verify(e), o.Breaker), o.Limit), o.Retry), o.Batch)
}
