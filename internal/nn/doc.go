// Package nn computes what small language models give for tokens, on the CPU: encoders of the BERT family, with a pooling for
// embeddings or a head for scores, and static models, which are tables. It reads weights in the format safetensors, knows no
// tokenizer, and depends on nothing but the standard library and the processor's features.
//
// # Kernels
//
// Nearly all of the time goes into products of matrices. There are several implementations of the inner loops, a [Kernel] each: in
// assembly for processors with AVX-512, with AVX2 and FMA, or with no more than every amd64 has, and in portable Go for all. [Best]
// picks one when the program runs. They agree but for rounding, which tests hold. Weights are laid out for the kernel when they are
// loaded.
//
// # No padding
//
// Texts of a batch are laid end to end: layers that look at single tokens see one long matrix, attention looks at one text at a
// time. So short texts cost what they are long, whatever else is in the batch.
package nn
