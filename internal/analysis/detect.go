package analysis

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Detect tells the language of a text from the text alone: one of
// [Analyzer.Languages]. It reads at most 4 kB, half of it from the middle of a
// long text.
//
// The script decides where it can; within a script its letters and the
// function words do. A Latin text is English unless the function words and
// special letters of another language clearly outnumber the English ones, so
// short texts, lists of names and program code are English. A language that is
// recognised but not supported, as Polish, is "und".
func (a *Analyzer) Detect(text string) string {
	text = sample(text)
	var count [han + 1]int
	for _, r := range text {
		if unicode.IsLetter(r) {
			count[scriptOf(r)]++
		}
	}
	// A character of these scripts says as much as three letters.
	count[han] *= 3
	best := latin
	for s, n := range count {
		if n > count[best] {
			best = script(s)
		}
	}
	switch best {
	case latin:
		lang, _ := detectLatin(text)
		return lang
	case cyrillic:
		return detectCyrillic(text, count[cyrillic])
	case arab:
		return detectArabic(text, count[arab])
	case devanagari:
		return detectDevanagari(text)
	case han:
		return detectDense(text)
	case greek:
		return "el"
	}
	return Undetermined
}

// maxSample is how many bytes of a text decide.
const maxSample = 4096

func sample(text string) string {
	if len(text) <= maxSample {
		return text
	}
	middle := len(text) / 2
	// Half characters at the cuts are no letters.
	return text[:maxSample/2] + " " + text[middle:middle+maxSample/2]
}

// A clue is a language that a word or letter speaks for.
type clue struct {
	lang int // index into candidates
	// foreign is what it says against English: little if English has it too.
	foreign float64
	// own is what it says against all others: less the more languages have it.
	own float64
}

// candidates are the Latin languages that are told apart; English first. Where
// two are equally likely the earlier one is taken.
var candidates = []string{
	"en", "de", "fr", "es", "it", "pt", "nl", "sv", "no", "da", "fi", "ro", "hu", "tr",
	"pl", "cs", "sk", "hr", "sl", "ca", "id", "vi", "et", "lt", "lv", "sq", "sw", "tl", "eu", "is",
}

// functionWords are those of candidates that have no stop list, and what
// questions and conversation add to the lists of the others. English includes
// foreign words that it uses often.
var functionWords = map[string]string{
	"en": "could would cannot may might must us also like get got one two know think thanks thank yeah hey hi wow really great good new time people make sure let's much many well even back see want need first using used use between within without via per upon among towards toward based yes please hello okay ok glad awesome cool love lot going gonna non chi",
	"de": "wer wie viele wann wo warum wieso welche wurde wurden wird werden gibt gab ab mehr sehr schon kein auch bitte danke ja nein sei seit zwischen beim vom zum zur drei vier fünf heute immer dass",
	"fr": "quand où comment pourquoi combien quel quelle quels quelles est été plus très aussi bien tout tous cette cet être fait faire entre sans sous oui merci deux trois aujourd'hui depuis ont sont peut",
	"es": "cuándo cuándos cuánto cuántos cuántas quién quiénes cuál cuáles qué dónde cómo según fue fueron ser sido hace muy más sí gracias dos tres hoy también puede pueden entre cada mismo después hasta está",
	"it": "quando dove come perché quanto quanti quale quali che chi sono stato stata essere più molto anche dopo prima due tre oggi grazie può questo questa ogni fra tra già sì così",
	"pt": "quando onde como quanto quantos quantas quem qual quais que são foi foram ser sido muito mais também depois antes dois três hoje obrigado pode este esta cada entre já sim não está você",
	"nl": "wie wat waar wanneer waarom hoe hoeveel welke zijn werd wordt worden meer zeer veel ook tussen twee drie vandaag ja nee dank naar alleen sinds",
	"sv": "vem vad var när varför hur många vilken vilka är blev blir mer mycket också mellan två tre idag ja nej tack från efter bara sedan kan ska finns",
	"no": "hvem hva hvor når hvorfor hvordan mange hvilken er ble blir mer mye også mellom to tre dag ja nei takk fra etter bare siden kan skal finnes litt ut opp nå meg deg seg være vært enn noe noen fordi uten igjen hvis",
	"da": "hvem hvad hvor hvornår hvorfor hvordan mange hvilken er blev bliver mere meget også mellem to tre dag ja nej tak fra efter bare siden kan skal findes lidt ud op nu mig dig sig være været end noget nogen nogle fordi uden igen hvis",
	"fi": "kuka mikä missä milloin miksi miten kuinka monta on oli ovat enemmän myös välillä kaksi kolme tänään kyllä kiitos mutta vain sekä sen mukaan jälkeen voi",
	"ro": "cine ce unde când cum cât câți câte care este sunt fost mai foarte și între doi trei astăzi mulțumesc poate după din pentru prin către în să",
	"hu": "ki mi hol mikor miért hogyan hány melyik van volt vannak több nagyon és között két három ma igen köszönöm után csak lehet hogy",
	"tr": "kim ne nerede niçin nasıl kaç hangi var yok olan oldu daha çok ve arasında iki üç bugün evet hayır teşekkürler sonra sadece için ile bu bir",
	"pl": "się nie na jest że jak tak był była było być jego jej ich przez dla ale czy który która które co po od do tym tego oraz są już tylko może gdy lub także ten ta",
	"cs": "se na je že jsem jsou byl byla bylo být jako ale pro který která které podle také jeho její když nebo už jen aby při ve ze od roku však mezi",
	"sk": "sa na je že som sú bol bola bolo byť ako ale pre ktorý ktorá ktoré podľa tiež jeho jej keď alebo už len aby pri vo zo od roku však medzi",
	"hr": "je se na su da nije koji koja koje kao ali za bio bila bilo biti iz od prema također njegov ako ili već samo kako što pri između godine nakon",
	"sl": "je se na so da ni ki kot ali za bil bila bilo biti iz od tudi njegov če ker že samo kako kaj pri med leta ter",
	"ca": "el els les és amb per una dels també però com més aquest aquesta són va ser entre fins molt perquè quan seva seu han hi",
	"id": "yang dan di ini itu dengan untuk dari dalam tidak akan pada adalah ke juga oleh sebagai bisa karena atau kami mereka ada saya lebih telah sudah dapat",
	"vi": "và của là có không được trong một các người cho với này những để khi đã cũng như từ về tại nhiều năm đó",
	"et": "ja on ei et see ta oli kui ka mis kes või aga mida nii oma siis ning seda olid tema pole veel",
	"lt": "ir yra kad tai su buvo iš bet kaip ar jis ji į apie per taip nuo dar jau tik kurie kuris savo",
	"lv": "un ir ka tas ar bija no bet kā vai viņš viņa uz par arī pēc vēl jau tikai kas savu nav",
	"sq": "dhe në të për një është nga që me ka nuk më si por edhe janë kjo ky",
	"sw": "na ya wa kwa ni katika la za kuwa hii hiyo kama lakini pia yake huo",
	"tl": "ang ng sa mga na ay at ito ni para hindi kung isang siya ko",
	"eu": "eta da ez zen bat du izan dira ere hau baina egin zuen dute",
	"is": "og að er í sem var ekki um til við það með af hann fyrir eru frá hún verið",
}

// letterClues are the languages that a letter speaks for.
var letterClues = map[rune]string{
	'ß': "de", 'ä': "de sv fi et sk", 'ö': "de sv fi tr hu et is", 'ü': "de tr hu et",
	'å': "sv no da", 'ø': "no da", 'æ': "no da is",
	'ñ': "es", '¿': "es", '¡': "es", 'ã': "pt", 'õ': "pt et vi", 'ç': "fr pt tr ca sq",
	'è': "fr it ca", 'ê': "fr pt vi", 'œ': "fr", 'ù': "fr it", 'ò': "it ca", 'û': "fr", 'ë': "sq nl",
	'ő': "hu", 'ű': "hu", 'ş': "tr", 'ğ': "tr", 'ı': "tr", 'ș': "ro", 'ț': "ro", 'ă': "ro vi", 'ţ': "ro",
	'ł': "pl", 'ż': "pl", 'ś': "pl", 'ć': "pl hr", 'ę': "pl lt", 'ą': "pl lt", 'ń': "pl",
	'ř': "cs", 'ě': "cs", 'ů': "cs", 'ľ': "sk", 'ť': "sk cs", 'š': "cs sk hr sl lt lv et", 'č': "cs sk hr sl lt lv", 'ž': "cs sk hr sl lt lv",
	'đ': "hr vi", 'ư': "vi", 'ơ': "vi", 'ạ': "vi", 'ế': "vi", 'ộ': "vi", 'ė': "lt", 'ų': "lt", 'ū': "lt lv", 'ā': "lv", 'ī': "lv", 'ē': "lv",
	'ð': "is", 'þ': "is",
}

// letterWeight is what a word with a special letter says beside a function
// word's 1: names travel between languages, function words do not.
const letterWeight = 0.4

// sharedWeight is what a function word says for a language if English has it
// too, or if it looks like part of a name: "Los Angeles", "Simone de Beauvoir".
// A first word has its capital from the sentence, perhaps.
const (
	sharedWeight = 0.3
	firstWeight  = 0.7
)

// particles are the function words that names are made with.
var particles = set("de da di do dos du del della la le van von zu y")

var (
	wordEvidence   = makeWordEvidence()
	letterEvidence = makeLetterEvidence()
)

func makeWordEvidence() map[string][]clue {
	evidence := make(map[string][]clue)
	for i, name := range candidates {
		words := set(functionWords[name])
		if l := languages[name]; l != nil {
			for w := range l.stop {
				words[w] = true
			}
		}
		for w := range words {
			if len(w) > 1 { // single letters are formulas and initials
				evidence[w] = append(evidence[w], clue{lang: i, foreign: 1})
			}
		}
	}
	for _, clues := range evidence {
		english := clues[0].lang == 0
		for i := range clues {
			clues[i].own = 1 / float64(len(clues))
			if english && i > 0 {
				clues[i].foreign = sharedWeight
			}
		}
	}
	return evidence
}

func makeLetterEvidence() map[rune][]clue {
	evidence := make(map[rune][]clue)
	for r, names := range letterClues {
		list := strings.Fields(names)
		for _, name := range list {
			i := slices.Index(candidates, name)
			evidence[r] = append(evidence[r], clue{lang: i, foreign: letterWeight, own: letterWeight / float64(len(list))})
		}
	}
	return evidence
}

// What a language needs to be taken instead of English, or English to be
// sure: so much evidence, so many times that of the other, in so great a share
// of the words.
const (
	minEvidence = 1.4
	minRatio    = 1.5
	minShare    = 0.12
)

// A tally sums clues by candidate.
type tally struct{ foreign, own []float64 }

func (t tally) add(clues []clue, factor float64) {
	for _, c := range clues {
		f := factor
		if c.lang == 0 {
			f = 1 // a name does not speak against English
		}
		t.foreign[c.lang] += f * c.foreign
		t.own[c.lang] += f * c.own
	}
}

// detectLatin tells the language of a Latin text, and whether the text itself
// says so: English is also what is taken for want of evidence.
func detectLatin(text string) (lang string, sure bool) {
	sum := tally{make([]float64, len(candidates)), make([]float64, len(candidates))}
	words := slices.Collect(strings.FieldsFuncSeq(text, notInWord))
	for i, word := range words {
		factor := 1.0
		switch {
		case i == 0 && capital(word):
			factor = firstWeight
		case capital(word), particles[word] && i > 0 && capital(words[i-1]) && i+1 < len(words) && capital(words[i+1]):
			factor = sharedWeight
		}
		word = strings.Trim(strings.ReplaceAll(strings.ToLower(word), "’", "'"), "'")
		clues := wordEvidence[word]
		if i := strings.IndexByte(word, '\''); clues == nil && i > 0 {
			// l'avion, dell'arte, qu'il: the words on both sides count.
			for _, part := range []string{word[:i], word[i+1:]} {
				sum.add(wordEvidence[part], factor)
			}
		}
		sum.add(clues, factor)
		for _, r := range word {
			if r >= utf8.RuneSelf && letterEvidence[r] != nil {
				sum.add(letterEvidence[r], 1)
				break // a word speaks once
			}
		}
	}
	for _, r := range "¿¡" {
		if strings.ContainsRune(text, r) {
			sum.add(letterEvidence[r], 1)
		}
	}
	// Relatives share words, so the words of one's own decide between them.
	best, most := 0, 0.0
	for i := 1; i < len(candidates); i++ {
		if own := sum.own[i] + sum.foreign[i]/2; own > most {
			best, most = i, own
		}
	}
	if best == 0 { // nothing speaks for another language
		return "en", sum.foreign[0] >= minEvidence
	}
	evidence, english, share := sum.foreign[best], sum.foreign[0], minShare*float64(len(words))
	clear := evidence >= minEvidence && evidence >= minRatio*english && evidence >= share
	// Lists of names and numbers hold few function words of any language.
	list := evidence >= 3*minEvidence && evidence >= 3*minRatio*english && evidence >= share/3
	switch {
	case !clear && !list:
		return "en", english >= minEvidence && english >= minRatio*evidence
	case Supported(candidates[best]):
		return candidates[best], true
	}
	return Undetermined, false
}

func capital(word string) bool {
	r, _ := utf8.DecodeRuneInString(word)
	return unicode.IsUpper(r)
}

func notInWord(r rune) bool {
	return !unicode.IsLetter(r) && r != '\'' && r != '’' && !unicode.Is(unicode.Mn, r)
}

// detectCyrillic tells Russian from what has letters that Russian lacks
// (Ukrainian, Belarusian, Serbian, Macedonian), and from Bulgarian, which
// lacks letters that Russian has.
func detectCyrillic(text string, letters int) string {
	foreign, hard, russian := 0, 0, 0
	for _, r := range strings.ToLower(text) {
		switch {
		case strings.ContainsRune("іїєґўјљњђћџѓќѕ", r):
			foreign++
		case r == 'ъ':
			hard++
		case r == 'ы', r == 'э', r == 'ё':
			russian++
		}
	}
	if foreign*50 > letters || russian == 0 && hard*100 > letters {
		return Undetermined
	}
	return "ru"
}

// detectArabic tells Arabic, Persian and the rest (Urdu, Pashto, Kurdish) by
// the letters that only some of them have.
func detectArabic(text string, letters int) string {
	persian, foreign := 0, 0
	for _, r := range text {
		switch {
		case strings.ContainsRune("پچژگکی", r):
			persian++
		case strings.ContainsRune("ٹڈڑںےہھټډړښڕڵۆێ", r):
			foreign++
		}
	}
	switch {
	case foreign*50 > letters:
		return Undetermined
	case persian*33 > letters:
		return "fa"
	}
	return "ar"
}

// Function words of Hindi, and of Marathi and Nepali, which share its script.
var (
	hindiWords  = set("है हैं का के की में से को और था थे थी ने पर यह वह हो कि भी नहीं एक इस तो कर")
	otherHindic = set("आहे आहेत आणि होते होता मध्ये नाही हा ही त्या छ छन् हो र मा को लाई छैन थियो गर्न भएको")
)

func detectDevanagari(text string) string {
	hindi, foreign := 0, 0
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.Is(unicode.M, r) }) {
		if hindiWords[word] {
			hindi++
		}
		if otherHindic[word] {
			foreign++
		}
	}
	if foreign > hindi {
		return Undetermined
	}
	return "hi"
}

// detectDense tells the scripts without spaces apart. Japanese mixes kana with
// Chinese characters, at least one in twenty.
func detectDense(text string) string {
	var chinese, kana, hangul, thai, rest int
	for _, r := range text {
		switch {
		case !dense(r):
		case unicode.Is(unicode.Hangul, r):
			hangul++
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			kana++
		case unicode.Is(unicode.Han, r), unicode.Is(unicode.Bopomofo, r):
			chinese++
		case unicode.Is(unicode.Thai, r):
			thai++
		default:
			rest++
		}
	}
	switch most := max(chinese+kana, hangul, thai, rest); {
	case most == chinese+kana && kana*20 >= most:
		return "ja"
	case most == chinese+kana:
		return "zh"
	case most == hangul:
		return "ko"
	case most == thai:
		return "th"
	}
	return Undetermined
}
