package extracttest

import "strings"

// Office begins the names of the kinds of relationships in an Office document.
const Office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"

// Relationships makes the part of an Office document that names the parts which another one refers to: id, kind, target, three by three.
// Targets with a colon are elsewhere.
func Relationships(list ...string) string {
	var b strings.Builder
	b.WriteString(`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`)
	for i := 0; i+2 < len(list); i += 3 {
		mode := ""
		if strings.Contains(list[i+2], ":") {
			mode = ` TargetMode="External"`
		}
		b.WriteString(`<Relationship Id="` + list[i] + `" Type="` + Office + list[i+1] + `" Target="` + list[i+2] + `"` + mode + `/>`)
	}
	return b.String() + `</Relationships>`
}
