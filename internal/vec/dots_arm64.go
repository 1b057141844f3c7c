package vec

// fastDots is of instructions that every processor of this architecture has.
var fastDots dotsKernel = dotsNEON

//go:noescape
func dotsNEON(out *int32, codes *byte, query *int16, rows, length int)
