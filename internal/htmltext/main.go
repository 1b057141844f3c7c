package htmltext

import (
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// page knows which nodes of a tree are left out, and how much text stands in each of the others.
type page struct {
	out  map[*html.Node]bool
	size map[*html.Node]int // letters and digits below an element that are not left out
	// holds are the inline elements that hold blocks.
	holds map[*html.Node]bool
}

// Names of classes and ids that tell what a block is. They are never believed of a block that holds much of the page.
var (
	bannerName = regexp.MustCompile(`(?i)cookie|consent|gdpr|onetrust`)
	furniture  = regexp.MustCompile(`(?i)^(?:(?:site|page|main|top|global|primary|secondary|mobile|skip)?[-_]?(?:nav|navbar|navigation|navigations|navbox|menu|menus|breadcrumb|breadcrumbs|pagination|sidebar|masthead|toolbar)|` +
		`(?:site|page|global)[-_]?(?:header|footer)|footer|skip[-_]?(?:link|links|to[-_]content)|share|sharing|share[-_]?(?:buttons?|bar|links?)|social[-_]?(?:links|share|media|icons)?|` +
		`mw-editsection|mw-jump-link|noprint|printfooter|catlinks|advert|advertisement|ads?|ad[-_](?:slot|banner|container)|sponsored|promo|newsletter|subscribe|related[-_]?(?:posts|articles|content)|` +
		`headerlink|anchorjs-link|visually-hidden-focusable|back-to-top)$`)
)

// small is the share of a page's text over which no block is taken for furniture.
const small = 0.4

// main returns the root of what is to be read: the element that the page itself marks as its main content if it holds a fair
// share of the text, else the body, both without navigation, banners and what is hidden.
func (p *page) main(doc *html.Node) *html.Node {
	body := find(doc, func(n *html.Node) bool { return n.DataAtom == atom.Body })
	if body == nil {
		body = doc
	}
	p.out = map[*html.Node]bool{}
	p.measure(body)
	all := p.size[body]
	p.clean(body, float64(all), false)
	p.measure(body)
	if p.size[body]*4 < all { // what was taken for furniture was the page
		p.out = map[*html.Node]bool{}
		p.cleanHidden(body)
		p.measure(body)
	}
	total := p.size[body]
	for _, is := range []func(n *html.Node) bool{
		func(n *html.Node) bool { return n.DataAtom == atom.Main || attr(n, "role") == "main" },
		func(n *html.Node) bool { return n.DataAtom == atom.Article || attr(n, "itemprop") == "articleBody" },
	} {
		var best *html.Node
		p.walk(body, func(n *html.Node) {
			if is(n) && (best == nil || p.size[n] > p.size[best]) {
				best = n
			}
		})
		if best != nil && p.size[best]*2 >= total {
			return best
		}
	}
	return body
}

// hidden reports whether an element is not shown.
func hidden(n *html.Node) bool {
	for _, a := range n.Attr {
		switch a.Key {
		case "hidden":
			return a.Val != "until-found"
		case "aria-hidden":
			if strings.EqualFold(a.Val, "true") && n.DataAtom != atom.Img {
				return true
			}
		case "style":
			style := strings.ToLower(strings.ReplaceAll(a.Val, " ", ""))
			if strings.Contains(style, "display:none") || strings.Contains(style, "visibility:hidden") {
				return true
			}
		}
	}
	return false
}

// clean leaves out what is hidden and what is furniture of a page with so much text. Within its main part only what is marked
// as navigation counts as furniture.
func (p *page) clean(n *html.Node, all float64, within bool) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type != html.ElementNode {
			continue
		}
		if hidden(c) || p.isFurniture(c, all, within) {
			p.out[c] = true
			continue
		}
		p.clean(c, all, within || c.DataAtom == atom.Main || c.DataAtom == atom.Article || attr(c, "role") == "main")
	}
}

func (p *page) cleanHidden(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type == html.ElementNode && hidden(c) {
			p.out[c] = true
		} else {
			p.cleanHidden(c)
		}
	}
}

func (p *page) isFurniture(n *html.Node, all float64, within bool) bool {
	share := float64(p.size[n])
	switch n.DataAtom {
	case atom.Nav, atom.Dialog, atom.Menu:
		return share < small*all || n.DataAtom == atom.Nav
	case atom.Header, atom.Footer, atom.Aside:
		if !within && share < small*all && (n.DataAtom != atom.Header || !has(n, atom.H1)) {
			return true
		}
	}
	switch strings.ToLower(attr(n, "role")) {
	case "navigation", "search", "menu", "menubar", "toolbar", "dialog", "alertdialog", "banner", "contentinfo", "complementary":
		if share < small*all && (!within || attr(n, "role") != "complementary") && !has(n, atom.H1) {
			return true
		}
	}
	if n.DataAtom == atom.Ul && languages(n) {
		return true
	}
	if inline[n.DataAtom] && n.DataAtom != atom.A && n.DataAtom != atom.Span || share >= small*all && share > 0 {
		return false
	}
	names := attr(n, "id") + " " + attr(n, "class")
	if names == " " {
		return false
	}
	for name := range strings.FieldsSeq(names) {
		if furniture.MatchString(name) || bannerName.MatchString(name) && p.size[n] < 2000 {
			return !has(n, atom.H1) && !has(n, atom.Main) && !has(n, atom.Article)
		}
	}
	return false
}

// languages reports whether a list holds the same page in other languages.
func languages(n *html.Node) bool {
	items, links := 0, 0
	for li := n.FirstChild; li != nil; li = li.NextSibling {
		if li.DataAtom == atom.Li {
			items++
			if a := find(li, func(n *html.Node) bool { return n.DataAtom == atom.A }); a != nil && attr(a, "hreflang") != "" {
				links++
			}
		}
	}
	return items > 1 && links*10 >= items*9
}

// measure counts the letters and digits below each element.
func (p *page) measure(n *html.Node) {
	p.size, p.holds = map[*html.Node]int{}, map[*html.Node]bool{}
	p.count(n)
}

func (p *page) count(n *html.Node) int {
	if n.Type == html.TextNode {
		size := 0
		for _, r := range n.Data {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				size++
			}
		}
		return size
	}
	size := 0
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if p.out[c] {
			continue
		}
		size += p.count(c)
		if c.Type == html.ElementNode && within(n) && (p.holds[c] || !within(c) && !dropped[c.DataAtom]) {
			p.holds[n] = true
		}
	}
	p.size[n] = size
	return size
}

// walk calls f for each element below n that is not left out, parents first.
func (p *page) walk(n *html.Node, f func(n *html.Node)) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type == html.ElementNode && !p.out[c] {
			f(c)
			p.walk(c, f)
		}
	}
}

// find returns the first node in the order of the page for which is holds.
func find(n *html.Node, is func(n *html.Node) bool) *html.Node {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if is(c) {
			return c
		}
		if found := find(c, is); found != nil {
			return found
		}
	}
	return nil
}

func has(n *html.Node, a atom.Atom) bool {
	return find(n, func(n *html.Node) bool { return n.DataAtom == a }) != nil
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
