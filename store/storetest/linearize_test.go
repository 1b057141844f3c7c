package storetest

import "testing"

// TestLinearize gives the search for an order histories of which the answer is known: what it must not let pass is what the race
// cases are for.
func TestLinearize(t *testing.T) {
	t.Parallel()
	write := func(n int) step {
		return func(r register) (register, bool) { return register{there: true, n: n, number: r.number + 1}, true }
	}
	read := func(n int) step { return func(r register) (register, bool) { return r, r.there && r.n == n } }
	absent := func(r register) (register, bool) { return r, !r.there }
	gone := func(r register) (register, bool) { return register{}, r.there }
	for name, c := range map[string]struct {
		events []event
		want   bool
	}{
		"one after the other":            {[]event{{"", 1, 2, write(1)}, {"", 3, 4, read(1)}}, true},
		"a lost write":                   {[]event{{"", 1, 2, write(1)}, {"", 3, 4, absent}}, false},
		"a stale read":                   {[]event{{"", 1, 2, write(1)}, {"", 3, 4, write(2)}, {"", 5, 6, read(1)}}, false},
		"either of two at once":          {[]event{{"", 1, 4, write(1)}, {"", 2, 3, write(2)}, {"", 5, 6, read(1)}}, true},
		"both of two at once":            {[]event{{"", 1, 4, write(1)}, {"", 2, 3, write(2)}, {"", 5, 6, read(1)}, {"", 7, 8, read(2)}}, false},
		"backwards":                      {[]event{{"", 1, 8, write(1)}, {"", 2, 3, read(1)}, {"", 4, 5, absent}}, false},
		"deleted in between":             {[]event{{"", 1, 8, write(1)}, {"", 2, 3, read(1)}, {"", 4, 9, gone}, {"", 5, 6, absent}}, true},
		"a call that is still under way": {[]event{{"", 1, 9, write(1)}, {"", 2, 3, absent}, {"", 4, 5, read(1)}}, true},
		"deleted twice":                  {[]event{{"", 1, 2, write(1)}, {"", 3, 6, gone}, {"", 4, 5, gone}}, false},
		"the last order tried":           {[]event{{"", 1, 9, write(3)}, {"", 2, 9, write(2)}, {"", 3, 9, write(1)}, {"", 10, 11, read(3)}}, true},
	} {
		if _, ok := linearize(register{}, c.events); ok != c.want {
			t.Errorf("%s: explained is %t, want %t", name, ok, c.want)
		}
	}
	end, _ := linearize(register{there: true, n: 7, number: 4}, []event{{"", 1, 2, write(8)}, {"", 3, 4, read(8)}})
	if want := (register{there: true, n: 8, number: 5}); end != want {
		t.Errorf("ends as %+v, want %+v", end, want)
	}
}
