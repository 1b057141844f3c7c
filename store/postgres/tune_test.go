package postgres

import (
	"testing"
)

// TestNextIndex checks which index is built or dropped next. Owners are given from large to small.
func TestNextIndex(t *testing.T) {
	t.Parallel()
	const from = 100
	bare := func(id string, vectors int64) largeOwner {
		return largeOwner{id: id, leaves: vectors, vectors: min(vectors, 5*from)}
	}
	has := func(id string, vectors int64) largeOwner {
		return largeOwner{id: id, leaves: vectors, vectors: min(vectors, from), recorded: true, ready: true, valid: true}
	}
	with := func(o largeOwner, change func(*largeOwner)) largeOwner { change(&o); return o }
	for name, c := range map[string]struct {
		list []largeOwner
		most int
		want string
	}{
		"nobody":                       {nil, 5, ""},
		"the largest first":            {[]largeOwner{bare("a", 300), bare("b", 200)}, 5, "build a"},
		"then the next":                {[]largeOwner{has("a", 300), bare("b", 200)}, 5, "build b"},
		"all have one":                 {[]largeOwner{has("a", 300), has("b", 200)}, 5, ""},
		"just large enough":            {[]largeOwner{bare("a", 100)}, 5, "build a"},
		"too small":                    {[]largeOwner{with(bare("a", 300), func(o *largeOwner) { o.vectors = 99 })}, 5, ""},
		"a few wait":                   {[]largeOwner{with(bare("a", 300), func(o *largeOwner) { o.waiting = 25 })}, 5, "build a"},
		"many wait":                    {[]largeOwner{with(bare("a", 300), func(o *largeOwner) { o.waiting = 26 })}, 5, ""},
		"many wait, but it is huge":    {[]largeOwner{with(bare("a", 900), func(o *largeOwner) { o.waiting = 100 })}, 5, "build a"},
		"many wait, so another":        {[]largeOwner{with(bare("a", 300), func(o *largeOwner) { o.waiting = 99 }), bare("b", 200)}, 5, "build b"},
		"half is left":                 {[]largeOwner{has("a", 50)}, 5, ""},
		"less than half is left":       {[]largeOwner{has("a", 49)}, 5, "drop a"},
		"the owner is gone":            {[]largeOwner{has("a", 0)}, 5, "drop a"},
		"not finished":                 {[]largeOwner{with(has("a", 300), func(o *largeOwner) { o.ready = false })}, 5, "build a"},
		"not finished, and too small":  {[]largeOwner{with(has("a", 30), func(o *largeOwner) { o.ready = false })}, 5, "drop a"},
		"ready, but gone or invalid":   {[]largeOwner{with(has("a", 300), func(o *largeOwner) { o.valid = false })}, 5, "build a"},
		"another process is at it":     {[]largeOwner{bare("a", 300), with(has("b", 200), func(o *largeOwner) { o.claimed, o.ready = true, false })}, 5, ""},
		"no room":                      {[]largeOwner{bare("a", 390), has("b", 200), has("c", 200)}, 2, ""},
		"no room, but twice as large":  {[]largeOwner{bare("a", 400), has("b", 300), has("c", 200)}, 2, "drop c"},
		"more than there may be":       {[]largeOwner{has("a", 400), has("b", 300), has("c", 200)}, 2, "drop c"},
		"none at all":                  {[]largeOwner{bare("a", 400)}, 0, ""},
		"none at all any more":         {[]largeOwner{has("a", 400)}, 0, "drop a"},
		"what is broken before others": {[]largeOwner{bare("a", 400), with(has("b", 300), func(o *largeOwner) { o.valid = false })}, 5, "build b"},
	} {
		got := ""
		if o := next(c.list, from, c.most); o != nil && o.build {
			got = "build " + o.id
		} else if o != nil {
			got = "drop " + o.id
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
