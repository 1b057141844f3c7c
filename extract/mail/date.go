package mail

import (
	"strconv"
	"strings"
	"time"
)

// zones are the names of time zones that mean one offset to most senders, in minutes east of UTC. Others, which mean several (IST)
// or nothing, are taken for UTC, as RFC 5322 has it.
var zones = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "MET": 60, "CEST": 120, "MEST": 120, "MESZ": 120,
	"MEZ": 60, "EET": 120, "EEST": 180, "MSK": 180, "MSD": 240, "JST": 540, "KST": 540, "HKT": 480, "SGT": 480,
	"AEST": 600, "AEDT": 660, "ACST": 570, "AWST": 480, "NZST": 720, "NZDT": 780,
	"EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480,
	"HST": -600, "AST": -240, "ADT": -180, "NST": -210, "NDT": -150, "BRT": -180, "BRST": -120,
}

const (
	firstYear = 1900
	lastYear  = 2200
)

// parseDate reads a date as mail has it, and in the forms that programs have invented: without a weekday or with a wrong one, in
// the order of C's asctime, with months in full, two digits for the year, a zone's name instead of its offset, by ISO 8601.
func parseDate(s string) (time.Time, bool) {
	s = strings.TrimSpace(withoutComments(s))
	if len(s) > 200 || len(s) < 8 {
		return time.Time{}, false
	}
	if len(s) > 9 && s[4] == '-' && s[7] == '-' {
		s = strings.Replace(s, "/", "", 1)
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05Z07:00",
			"2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02 15:04", "2006-01-02"} {
			if t, err := time.Parse(layout, s); err == nil {
				return plausible(t)
			}
		}
		return time.Time{}, false
	}
	for strings.Contains(s, " :") || strings.Contains(s, ": ") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, " :", ":"), ": ", ":")
	}
	d := dateParts{day: -1, hour: -1, year: -1}
	for _, token := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == ';' }) {
		if !d.add(token) {
			return time.Time{}, false
		}
	}
	if d.day < 1 || d.month == 0 || d.year < 0 {
		return time.Time{}, false
	}
	if d.hour < 0 {
		d.hour = 0
	}
	if d.pm && d.hour < 12 {
		d.hour += 12
	} else if d.am && d.hour == 12 {
		d.hour = 0
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.minute, d.second, 0, time.UTC)
	if t.Day() != d.day {
		return time.Time{}, false // as the 31st of June
	}
	return plausible(t.Add(-time.Duration(d.offset) * time.Minute))
}

func plausible(t time.Time) (time.Time, bool) {
	t = t.UTC()
	return t, t.Year() >= firstYear && t.Year() <= lastYear
}

type dateParts struct {
	year, day, hour, minute, second int
	month                           time.Month
	offset                          int // minutes east
	am, pm                          bool
}

// add takes in a part of a date. It returns false for one that makes the whole wrong.
func (d *dateParts) add(token string) bool {
	first := token[0]
	switch upper := strings.ToUpper(token); {
	case strings.Contains(token, ":") && first >= '0' && first <= '9':
		return d.clock(token)
	case first == '+' || first == '-':
		return d.zone(token)
	case upper == "AM" || upper == "PM":
		d.am, d.pm = upper == "AM", upper == "PM"
	case first >= '0' && first <= '9':
		if strings.ContainsAny(token, "-/") { // 21-Nov-1997
			for _, part := range strings.FieldsFunc(token, func(r rune) bool { return r == '-' || r == '/' }) {
				if !d.add(part) {
					return false
				}
			}
			return d.month != 0
		}
		n, err := strconv.Atoi(strings.TrimRight(token, "."))
		if err != nil {
			return true // such as "1st"
		}
		switch {
		case len(token) <= 2 && d.day < 0:
			d.day = n
		case d.year >= 0:
		case len(token) <= 2 && n < 50:
			d.year = 2000 + n
		case len(token) <= 3:
			d.year = 1900 + n
		default:
			d.year = n
		}
	default:
		if offset, ok := zones[upper]; ok {
			d.offset = offset
			return true
		}
		if n := strings.IndexAny(token, "+-"); n > 0 {
			if offset, ok := zones[strings.ToUpper(token[:n])]; ok && offset == 0 { // GMT+0200
				return d.zone(token[n:])
			}
		}
		if m := monthOf(upper); m != 0 && d.month == 0 {
			d.month = m
		}
	}
	return true
}

func monthOf(s string) time.Month {
	if len(s) < 3 {
		return 0
	}
	for m := time.January; m <= time.December; m++ {
		if name := strings.ToUpper(m.String()); strings.HasPrefix(name, strings.TrimRight(s, ".")) || s == "SEPT" && m == time.September {
			return m
		}
	}
	return 0
}

func (d *dateParts) clock(token string) bool {
	if n := len(token) - 2; n > 0 && (strings.EqualFold(token[n:], "am") || strings.EqualFold(token[n:], "pm")) {
		d.am, d.pm, token = token[n]|0x20 == 'a', token[n]|0x20 == 'p', token[:n]
	}
	token, _, _ = strings.Cut(token, ".")
	if n := strings.IndexAny(token, "+-"); n > 0 {
		if !d.zone(token[n:]) {
			return false
		}
		token = token[:n]
	}
	parts := strings.Split(strings.TrimRight(token, "Zz"), ":")
	if len(parts) > 3 {
		return false
	}
	limits, numbers := []int{23, 59, 60}, []*int{&d.hour, &d.minute, &d.second}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > limits[i] {
			return false
		}
		*numbers[i] = n
	}
	return true
}

func (d *dateParts) zone(token string) bool {
	digits := strings.ReplaceAll(token[1:], ":", "")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return true
	}
	if len(digits) <= 2 {
		n *= 100
	}
	minutes := n/100*60 + n%100
	if n%100 > 59 || minutes > 15*60 {
		return true // no offset anyone has: the clock is all that is known
	}
	if token[0] == '-' {
		minutes = -minutes
	}
	d.offset = minutes
	return true
}

// withoutComments leaves out what stands in parentheses.
func withoutComments(s string) string {
	for {
		n := strings.IndexByte(s, '(')
		if n < 0 || len(s) > 2000 {
			return s
		}
		s = s[:n] + " " + s[n+commentEnd(s[n:]):]
	}
}
