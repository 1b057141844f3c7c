// Package llm asks language models for short texts: the contract of generators, and what makes any of them dependable.
//
// A [Generator] is two methods; [Func] makes one of a function. Providers are packages of their own, such as llm/openai and
// llm/anthropic. They ask a model and do nothing else; the rest is wrapped around them:
//
//	g := llm.Budget(llm.Recommended(openai.New(openai.Config{APIKey: key}), nil), llm.BudgetOptions{USD: 5})
//	answer, err := g.Generate(ctx, llm.Request{Document: text, Prompt: "What is it about?", MaxTokens: 100})
//
// # Decorators
//
// Each adds one concern to a generator and is one again. [Recommended] puts those together that do no harm anywhere.
//
//	Retry    repeats what failed for a time, as the provider says or with jitter
//	Limit    keeps to requests and tokens per minute
//	Breaker  leaves a provider alone that is down
//	Budget   ends when so much money or so many tokens are used up
//
// # Errors
//
// An [*Error] has a [Kind], which tells who can act. Two questions matter: [Temporary], try the same again later; and [Declined], this
// model has no answer to this request, and will have none.
package llm
