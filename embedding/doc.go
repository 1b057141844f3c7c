// Package embedding turns texts into vectors: the contract of embedders, and what is common to all of them.
//
// An [Embedder] is two methods; [Func] makes one of a function. Its [ModelInfo] says which space its vectors belong to. The
// providers are packages of their own, such as embedding/openai, and do nothing but ask a model. What makes a provider
// dependable is wrapped around it.
package embedding
