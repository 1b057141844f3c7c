package pgtest_test

// children are the programs this test binary can be, chosen by PGTEST_CHILD:
// what happens at the end of a process can only be seen from outside it.
var children = map[string]func() int{}
