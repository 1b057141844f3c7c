package ooxml

import (
	"strings"

	"github.com/llmemory/llmemory/internal/mdtext"
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
		return mdtext.Visible(s), err
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
	sub, sup := mdtext.Script("_", part["m:sub"]), mdtext.Script("^", part["m:sup"])
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
		return mdtext.Fraction(part["m:num"], part["m:den"]), err
	case "m:sSup", "m:sSub", "m:sSubSup":
		return mdtext.Group(base) + sub + sup, err
	case "m:sPre":
		return sub + sup + mdtext.Group(base), err
	case "m:rad":
		return mdtext.Root(part["m:deg"], base), err
	case "m:nary":
		return sign("m:chr", "∫") + sub + sup + " " + base, err
	case "m:d":
		return sign("m:begChr", "(") + strings.Join(parts, sign("m:sepChr", "|")) + sign("m:endChr", ")"), err
	case "m:func":
		return strings.TrimSpace(part["m:fName"]) + " " + base, err
	case "m:limLow":
		return base + mdtext.Script("_", part["m:lim"]), err
	case "m:limUpp":
		return base + mdtext.Script("^", part["m:lim"]), err
	case "m:acc":
		if len([]rune(base)) == 1 {
			return base + sign("m:chr", "\u0302"), err
		}
		return base, err
	default: // m:eqArr
		return strings.Join(parts, "; "), err
	}
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
