package charset

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/llmemory/llmemory/internal/fault"
)

// texts are in the charsets that each language has been written in.
var texts = []struct {
	language, text string
	charsets       []string
}{
	{"Japanese", "東京都の人口は約千四百万人で、日本で最も多い。氏名,住所,電話番号\n山田太郎,大阪市北区,06-1234\nカタカナも含みます。", []string{"shift_jis", "euc-jp", "iso-2022-jp"}},
	{"Japanese without kana", "氏名,年齢,住所\n山田太郎,30,東京都千代田区\n佐藤花子,25,大阪市北区\n", []string{"shift_jis", "euc-jp"}},
	{"Japanese names", "会議の議事録.txt\n東京のデータ.csv\n", []string{"shift_jis"}},
	{"Chinese names", "北京.txt\n上海.txt\n", []string{"gbk"}},
	{"Korean names", "서울.txt\n부산.txt\n", []string{"euc-kr"}},
	{"Chinese", "北京是中华人民共和国的首都，人口超过两千万。姓名,地址,电话\n王小明,上海市浦东新区,021\n这是用于测试的文字。", []string{"gbk", "gb18030"}},
	{"Chinese of Taiwan", "臺北市是中華民國的首都，人口約兩百五十萬。姓名,地址,電話\n王小明,臺中市,04\n這是用於測試的一段文字。", []string{"big5"}},
	{"Korean", "서울은 대한민국의 수도이며 인구는 약 천만 명이다. 이름,주소,전화\n김철수,부산시,051\n이것은 시험을 위한 글이다.", []string{"euc-kr"}},
	{"Russian", "Москва является столицей России, её население превышает двенадцать миллионов. Имя,Адрес\nИван Петров,Казань", []string{"koi8-r", "windows-1251", "ibm866", "iso-8859-5", "x-mac-cyrillic"}},
	{"Ukrainian", "Київ є столицею України, його населення перевищує три мільйони. Це текст для перевірки їжака.", []string{"windows-1251", "koi8-u"}},
	{"German", "Größe und Maße der Übergänge müssen geprüft werden; das Straßenfest beginnt um zehn Uhr.", []string{"iso-8859-1", "windows-1252"}},
	{"German with quotes", "„Größe“ – so heißt es – und Maße der Übergänge müssen geprüft werden.", []string{"windows-1252"}},
	{"French", "L'été dernier, nous avons mangé à la plage où il faisait très chaud. Ça c'était génial.", []string{"iso-8859-1"}},
	{"Spanish", "El niño comió una piña en la montaña por la mañana; ¿qué pasó después? Información útil.", []string{"iso-8859-1"}},
	{"French of few accents", "Le café est très bon ici, comme toujours.", []string{"iso-8859-1"}},
	{"Swedish", "Räksmörgås på ön är gott, sa flickan i ån.", []string{"iso-8859-1"}},
	{"Portuguese", "A informação não está disponível; você só precisa de mais atenção.", []string{"iso-8859-1"}},
	{"Romanian", "Toate fiinţele umane se nasc libere şi egale în demnitate şi în drepturi.", []string{"windows-1250", "iso-8859-2"}},
	{"Icelandic", "Hver maður er borinn frjáls og jafn öðrum að virðingu og réttindum.", []string{"iso-8859-1"}},
	{"Danish", "Smørrebrød på værtshuset er dejligt; åen løber gennem byen, og børnene leger.", []string{"iso-8859-1"}},
	{"Polish", "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.", []string{"windows-1250", "iso-8859-2"}},
	{"Czech", "Příliš žluťoučký kůň úpěl ďábelské ódy. Všichni lidé rodí se svobodní a sobě rovní.", []string{"windows-1250", "iso-8859-2"}},
	{"Hungarian", "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Űrhajó, őszibarack.", []string{"windows-1250", "iso-8859-2"}},
	{"Greek", "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη της χώρας.", []string{"windows-1253", "iso-8859-7"}},
	{"Turkish", "Türkiye'nin başkenti Ankara'dır. Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.", []string{"windows-1254"}},
	{"Hebrew", "ירושלים היא בירת ישראל והעיר הגדולה ביותר בה. כל בני האדם נולדו בני חורין.", []string{"windows-1255"}},
	{"Arabic", "القاهرة هي عاصمة مصر وأكبر مدنها. يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.", []string{"windows-1256", "iso-8859-6"}},
	{"Thai", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย มนุษย์ทั้งหลายเกิดมามีอิสระ", []string{"windows-874"}},
}

// UTF-16 without a byte order mark is found by what would be spaces in no other encoding, or by its name.
func TestUnmarked(t *testing.T) {
	t.Parallel()
	for _, tt := range texts {
		text := tt.text + "\n" + tt.text + "\n"
		for name, order := range map[string]binary.AppendByteOrder{"utf-16le": binary.LittleEndian, "utf-16be": binary.BigEndian} {
			var b, bare []byte
			for _, u := range utf16.Encode([]rune(text)) {
				b = order.AppendUint16(b, u)
				if u != '\n' && u != ' ' {
					bare = order.AppendUint16(bare, u)
				}
			}
			if got, err := Decode(b, ""); err != nil || got.Text != text || got.Charset != name {
				t.Errorf("%s in %s: %.60q, %q, %v", tt.language, name, got.Text, got.Charset, err)
			}
			if got, err := Decode(bare, strings.ToUpper(name)); err != nil || got.Text != strings.NewReplacer("\n", "", " ", "").Replace(text) {
				t.Errorf("%s in %s without spaces: %.60q, %q, %v", tt.language, name, got.Text, got.Charset, err)
			}
		}
	}
	for _, text := range []string{"some words \x00and more of them, in ASCII", "Größe \x00und Maße"} {
		if got, err := Decode([]byte(text), ""); err == nil && got.Charset != "utf-8" {
			t.Errorf("%q is taken for %s", text, got.Charset)
		}
	}
}

func encode(t testing.TB, s, charset string) []byte {
	t.Helper()
	e, err := htmlindex.Get(charset)
	if err != nil {
		if e, err = ianaindex.IANA.Encoding(charset); err != nil {
			t.Fatal(err)
		}
	}
	b, err := e.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", charset, err)
	}
	return b
}

func TestDecodeGuesses(t *testing.T) {
	t.Parallel()
	wrong, all := 0, 0
	for _, tc := range texts {
		for _, charset := range tc.charsets {
			for _, n := range []int{15, 40, 1 << 20} {
				runes := []rune(tc.text)
				text := string(runes[:min(n, len(runes))])
				r, err := Decode(encode(t, text, charset), "")
				if err != nil {
					t.Errorf("%s in %s: %v", tc.language, charset, err)
				}
				all++
				if r.Text != text {
					wrong++
					if n > 15 {
						t.Errorf("%s in %s, %d characters: read as %s: %q", tc.language, charset, n, r.Charset, r.Text)
					} else {
						t.Logf("%s in %s, %d characters: read as %s: %q", tc.language, charset, n, r.Charset, r.Text)
					}
				} else if !r.Guessed && charset != "iso-2022-jp" && !ascii([]byte(text)) {
					t.Errorf("%s in %s: does not say that it is a guess", tc.language, charset)
				}
			}
		}
	}
	if wrong*20 > all {
		t.Errorf("%d of %d texts are wrong", wrong, all)
	}
}

func TestDecodeDeclared(t *testing.T) {
	t.Parallel()
	for _, tc := range texts {
		for _, charset := range tc.charsets {
			r, err := Decode(encode(t, tc.text, charset), strings.ToUpper(charset))
			if err != nil || r.Text != tc.text || r.Guessed || r.Mended != 0 {
				t.Errorf("%s in %s: %+v, %v", tc.language, charset, r, err)
			}
		}
		r, err := Decode([]byte(tc.text), "iso-8859-1")
		if err != nil || r.Text != tc.text || r.Charset != "utf-8" {
			t.Errorf("%s in UTF-8, declared as Latin-1: %+v, %v", tc.language, r, err)
		}
	}
}

func TestDecodeUnicode(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"Hello, wide world", "日本語のテキスト", "Grüße 😀 an alle", "x"} {
		units := utf16.Encode([]rune(text))
		var le, be, le4, be4 []byte
		for _, u := range units {
			le, be = append(le, byte(u), byte(u>>8)), append(be, byte(u>>8), byte(u))
		}
		for _, r := range text {
			le4 = append(le4, byte(r), byte(r>>8), byte(r>>16), 0)
			be4 = append(be4, 0, byte(r>>16), byte(r>>8), byte(r))
		}
		for name, b := range map[string]string{
			"utf-8": "\xef\xbb\xbf" + text, "utf-16le": "\xff\xfe" + string(le), "utf-16be": "\xfe\xff" + string(be),
			"utf-32le": "\xff\xfe\x00\x00" + string(le4), "utf-32be": "\x00\x00\xfe\xff" + string(be4),
		} {
			if r, err := Decode([]byte(b), "iso-8859-1"); err != nil || r.Text != text || r.Charset != name {
				t.Errorf("%q in %s: %+v, %v", text, name, r, err)
			}
		}
		if utf8.RuneCountInString(text) == len(text) && len(text) > 4 {
			for name, b := range map[string][]byte{"utf-16le": le, "utf-16be": be, "utf-32le": le4, "utf-32be": be4} {
				if r, err := Decode(b, ""); err != nil || r.Text != text || r.Charset != name {
					t.Errorf("%q in %s without a mark: %+v, %v", text, name, r, err)
				}
			}
		}
	}
}

func TestDecodeMends(t *testing.T) {
	t.Parallel()
	r, err := Decode([]byte("caféé ünd älles, was ßo ist: äöü äöü äöü \xff Ende"), "")
	if err != nil || r.Charset != "utf-8" || r.Mended != 1 || !strings.Contains(r.Text, "\uFFFD Ende") {
		t.Errorf("%+v, %v", r, err)
	}
	if w := r.Warnings(); len(w) != 1 || w[0] != "1 characters could not be read as utf-8" {
		t.Errorf("warnings: %q", w)
	}
	if r, err := Decode([]byte("caf\xe9 noir"), "no-such-charset"); err != nil || r.Text != "café noir" || !r.Guessed {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDecodeRefusesBinary(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		b := make([]byte, 200+rng.IntN(2000))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		b[0] = 'x'
		if r, err := Decode(b, "iso-8859-1"); !errors.Is(err, fault.Unsupported) {
			t.Errorf("random bytes are text in %s (%v)", r.Charset, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tc := range texts {
		for _, charset := range tc.charsets {
			f.Add(encode(f, tc.text, charset), "")
		}
	}
	f.Add([]byte("\xff\xfe\x00"), "utf-8")
	f.Add([]byte("\x1b$B\x24"), "iso-2022-jp")
	f.Fuzz(func(t *testing.T, b []byte, declared string) {
		r, err := Decode(b, declared)
		if err != nil {
			if !errors.Is(err, fault.Unsupported) {
				t.Fatal(err)
			}
			return
		}
		if !utf8.ValidString(r.Text) || len(r.Text) > 4*len(b)+8 {
			t.Fatalf("%q", r.Text)
		}
		if again, err := Decode(b, declared); err != nil || again != r {
			t.Fatalf("%+v, then %+v", r, again)
		}
	})
}

func TestCodePage(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{
		1252: "windows-1252", 874: "windows-874", 932: "shift_jis", 866: "ibm866", 437: "ibm437", 850: "ibm850", 28592: "iso-8859-2", 65001: "utf-8", 10000: "macintosh",
		0: "", 20127: "", 1361: "", 99999: "", -1: "",
	} {
		if got := CodePage(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
