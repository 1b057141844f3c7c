// Package vecscan finds the vectors nearest to a query among many, exactly and without reading most of them.
//
// A vector is kept as one signed byte a dimension. With u the vector brought to length 1, s the largest of its components by 127 and
// c the components of u/s rounded to whole numbers, u = s·c + e, and the length of e is kept beside c and s. The query, brought to
// length 1 as well, becomes t·k + f with whole numbers of up to 16 bits. Then the cosine
//
//	u·q = s·t·(c·k) + s·(c·f) + e·q,  so  |u·q − s·t·(c·k)| ≤ (1 + |e|)·|f| + |e|
//
// by the Cauchy-Schwarz inequality. A scan computes c·k, a sum of whole numbers and so exact, for every vector, and with it the
// cosine's lower and upper bound. Whatever has an upper bound below the k-th best lower bound is not among the k nearest, for
// certain. What is left is a few dozen candidates as a rule; their cosines are computed from the vectors themselves, the most
// promising first, until none that is left could be among the best ([Nearest]). So the answer is that of an exhaustive search, ties
// included, whatever the data; unhappy data, such as thousands of equal vectors, takes longer.
//
// A [Page] is a number of quantised vectors and removals in the form in which a store keeps them. A [Set] is what a process holds in
// memory. Both say with which version of the set a vector came and went, so that a set answers for every snapshot there is: of the
// present and of the recent past. An ordinal names a vector, or several, which come one after the other with the same version and go
// together; the nearest of them counts. If an ordinal is removed and comes again, its vectors are others.
package vecscan
