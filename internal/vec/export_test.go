package vec

// DotsPortable is the form of [Dots] that runs everywhere.
var DotsPortable = dotsPortable
