package ooxml

import (
	"strings"
	"unicode"

	"github.com/llmemory/llmemory/internal/xmlwalk"
)

// Math returns an equation, the element at hand, on one line: fractions as (a)/(b), scripts with ^ and _, roots with √, matrices
// as [a, b; c, d].
func Math(r *xmlwalk.Reader) (string, error) {
	var b strings.Builder
	err := r.Each(func(e xmlwalk.Element) error {
		s, err := mathOf(r, e)
		b.WriteString(s)
		return err
	})
	return b.String(), err
}

// mathOf returns one element of an equation.
func mathOf(r *xmlwalk.Reader, e xmlwalk.Element) (string, error) {
	switch e.Tag {
	case "m:t", "w:t":
		s, err := r.Text(1 << 16)
		return invisible.Replace(s), err
	case "m:f", "m:sSup", "m:sSub", "m:sSubSup", "m:sPre", "m:rad", "m:nary", "m:d", "m:func", "m:limLow", "m:limUpp", "m:acc", "m:eqArr":
	case "m:m":
		return matrix(r)
	case "m:rPr", "w:rPr", "m:ctrlPr", "w:del", "w:moveFrom", "m:argPr", "m:boxPr", "m:barPr", "m:groupChrPr", "m:phantPr", "m:borderBoxPr":
		return "", nil
	default:
		return Math(r)
	}
	part := map[string]string{}
	property := map[string]string{}
	var parts []string // of m:d and m:eqArr
	err := r.Each(func(c xmlwalk.Element) error {
		if strings.HasSuffix(c.Tag, "Pr") {
			return r.Each(func(p xmlwalk.Element) error {
				property[p.Tag] = p.Get("val")
				if _, ok := p.Lookup("val"); !ok {
					property[p.Tag] = "none"
				}
				return nil
			})
		}
		s, err := Math(r)
		part[c.Tag] = s
		parts = append(parts, s)
		return err
	})
	base := part["m:e"]
	sub, sup := script("_", part["m:sub"]), script("^", part["m:sup"])
	sign := func(tag, def string) string {
		switch v, ok := property[tag]; {
		case !ok:
			return def
		case v == "none":
			return ""
		default:
			return v
		}
	}
	switch e.Tag {
	case "m:f":
		if property["m:type"] == "noBar" {
			return "(" + part["m:num"] + " ¦ " + part["m:den"] + ")", err
		}
		return group(part["m:num"]) + "/" + group(part["m:den"]), err
	case "m:sSup", "m:sSub", "m:sSubSup":
		return group(base) + sub + sup, err
	case "m:sPre":
		return sub + sup + group(base), err
	case "m:rad":
		return script("^", part["m:deg"]) + "√(" + base + ")", err
	case "m:nary":
		return sign("m:chr", "∫") + sub + sup + " " + base, err
	case "m:d":
		return sign("m:begChr", "(") + strings.Join(parts, sign("m:sepChr", "|")) + sign("m:endChr", ")"), err
	case "m:func":
		return strings.TrimSpace(part["m:fName"]) + " " + base, err
	case "m:limLow":
		return base + script("_", part["m:lim"]), err
	case "m:limUpp":
		return base + script("^", part["m:lim"]), err
	case "m:acc":
		if len([]rune(base)) == 1 {
			return base + sign("m:chr", "\u0302"), err
		}
		return base, err
	default: // m:eqArr
		return strings.Join(parts, "; "), err
	}
}

// invisible are operators that are meant but not seen: that a function is applied, that factors are multiplied.
var invisible = strings.NewReplacer("\u2061", " ", "\u2062", "", "\u2063", "", "\u2064", "")

// script returns a script with its sign, "" for none.
func script(sign, s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	return sign + group(s)
}

// group sets what is more than a word, a number or a group in parentheses.
func group(s string) string {
	s = strings.TrimSpace(s)
	if strings.IndexFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && r != '.'
	}) < 0 {
		return s
	}
	if strings.HasPrefix(s, "(") && strings.IndexByte(s, ')') == len(s)-1 {
		return s
	}
	return "(" + s + ")"
}

func matrix(r *xmlwalk.Reader) (string, error) {
	var rows []string
	err := r.Each(func(e xmlwalk.Element) error {
		if e.Tag != "m:mr" {
			return nil
		}
		var cells []string
		err := r.Each(func(xmlwalk.Element) error {
			s, err := Math(r)
			cells = append(cells, s)
			return err
		})
		rows = append(rows, strings.Join(cells, ", "))
		return err
	})
	return "[" + strings.Join(rows, "; ") + "]", err
}
