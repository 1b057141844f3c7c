package analysis

import (
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	tests := []struct{ want, text string }{
		// One ordinary sentence, then one as people write it in a hurry.
		{"de", "Der Vertrag wurde gestern von beiden Seiten unterschrieben und gilt ab sofort."},
		{"de", "Ich komme morgen etwas später, weil mein Zug ausfällt."},
		{"fr", "Le contrat a été signé hier par les deux parties et il est valable immédiatement."},
		{"fr", "J'arrive demain un peu plus tard parce que mon train est annulé."},
		{"es", "El contrato fue firmado ayer por ambas partes y entra en vigor de inmediato."},
		{"es", "Mañana llego un poco más tarde porque mi tren no sale."},
		{"it", "Il contratto è stato firmato ieri da entrambe le parti ed è subito valido."},
		{"it", "Domani arrivo un po' più tardi perché il mio treno non parte."},
		{"pt", "O contrato foi assinado ontem por ambas as partes e já está em vigor."},
		{"pt", "Amanhã chego um pouco mais tarde porque o meu comboio não sai."},
		{"nl", "Het contract is gisteren door beide partijen ondertekend en geldt vanaf nu."},
		{"nl", "Ik kom morgen iets later omdat mijn trein niet rijdt."},
		{"sv", "Avtalet skrevs under i går av båda parterna och gäller från och med nu."},
		{"sv", "Jag kommer lite senare i morgon eftersom mitt tåg är inställt."},
		{"no", "Avtalen ble undertegnet i går av begge parter og gjelder fra nå av."},
		{"no", "Jeg kommer litt senere i morgen fordi toget mitt ikke går."},
		{"da", "Aftalen blev underskrevet i går af begge parter og gælder fra nu af."},
		{"da", "Jeg kommer lidt senere i morgen, fordi mit tog ikke kører."},
		{"fi", "Sopimus on allekirjoitettu eilen ja se on voimassa heti, mutta sitä ei ole vielä julkaistu."},
		{"fi", "Tulen huomenna vähän myöhemmin, koska minun junani on peruttu."},
		{"ro", "Contractul a fost semnat ieri de ambele părți și este valabil imediat."},
		{"ro", "Mâine ajung puțin mai târziu pentru că trenul meu nu pleacă."},
		{"hu", "A szerződést tegnap írta alá mindkét fél, és az azonnal érvényes."},
		{"hu", "Holnap egy kicsit később jövök, mert a vonatom nem indul."},
		{"tr", "Sözleşme dün iki tarafça imzalandı ve bu nedenle hemen geçerli oldu."},
		{"tr", "Yarın biraz daha geç geleceğim çünkü trenim yok."},
		{"ru", "Договор был подписан вчера обеими сторонами."},
		{"el", "Η σύμβαση υπογράφηκε χθες."},
		{"ar", "تم توقيع العقد أمس من قبل الطرفين."},
		{"fa", "قرارداد دیروز توسط دو طرف امضا شد و از امروز اجرا می\u200cشود."},
		{"hi", "अनुबंध पर कल दोनों पक्षों ने हस्ताक्षर किए।"},
		{"zh", "合同昨天由双方签署，立即生效。"},
		{"ja", "契約は昨日、双方によって署名されました。"},
		{"ja", "データベース設計入門"},
		{"ko", "계약은 어제 양측이 서명했습니다."},
		{"th", "สัญญาได้รับการลงนามเมื่อวานนี้"},

		// Recognised, not supported.
		{"und", "Umowa została podpisana wczoraj przez obie strony i jest ważna od razu."},
		{"und", "Smlouva byla podepsána včera oběma stranami a je platná ihned, ale není zveřejněna."},
		{"und", "Hợp đồng đã được ký hôm qua và có hiệu lực ngay."},
		{"und", "Perjanjian itu ditandatangani kemarin oleh kedua pihak dan berlaku untuk tahun ini."},
		{"und", "Договір був підписаний учора обома сторонами і набув чинності."},
		{"und", "Договорът беше подписан вчера от двете страни и влиза в сила веднага след това."},
		{"und", "معاہدے پر کل دونوں فریقوں نے دستخط کیے تھے۔"},
		{"und", "करारावर काल दोन्ही पक्षांनी स्वाक्षरी केली आहे आणि तो लागू झाला आहे."},
		{"und", "החוזה נחתם אתמול"},

		// English, and what must not be taken for anything else.
		{"en", "The contract was signed yesterday by both parties and takes effect at once."},
		{"en", "I'll be a bit late tomorrow, my train got cancelled :("},
		{"en", "ok"},
		{"en", ""},
		{"en", "12345 !!!"},
		{"en", "Haha, no way! Die Hard is so bad lol"},
		{"en", "Los Angeles, San José, La Paz and El Paso"},
		{"en", "Leonardo da Vinci, Ludwig van Beethoven, Simone de Beauvoir"},
		{"en", "Non-linear systems (Algorithm 12 [C2])"},
		{"en", "Zürich café menu"},
		{"en", "func (s *Set) Add(o uint64) bool { if s.pages == nil { s.pages = make(map[uint64]*page) } }"},
		{"en", "SELECT id, name FROM users WHERE el = 1 AND la = 2 ORDER BY des"},
		{"en", "for i in range(n): total += prices[i] * de.rate; print(total)"},
		{"en", "Install postgresql-15, run initdb, edit pg_hba.conf"},
		{"en", "Guten Tag, she said, and went on in English for the rest of the evening."},
		{"en", "The word собака is Russian for dog; 狗 is the Chinese one."},
	}
	a := New()
	for _, tt := range tests {
		if got := a.Detect(tt.text); got != tt.want {
			t.Errorf("got %s, want %s: %s", got, tt.want, tt.text)
		}
	}
}

// TestDetectReadsASample checks that a long text is cut wherever it may be, and
// that a foreign first page does not decide alone.
func TestDetectReadsASample(t *testing.T) {
	t.Parallel()
	a := New()
	for pad := range 4 {
		long := strings.Repeat("x", pad) + strings.Repeat(" Договор был подписан вчера обеими сторонами.", 5000)
		if got := a.Detect(long); got != "ru" {
			t.Errorf("padding %d: got %s, want ru", pad, got)
		}
	}
	text := strings.Repeat("Copyright notice, all rights reserved. ", 20) + strings.Repeat("Der Vertrag wurde gestern von beiden Seiten unterschrieben. ", 500)
	if got := a.Detect(text); got != "de" {
		t.Errorf("after an English notice: got %s, want de", got)
	}
}

func TestDetectGivesSupportedLanguages(t *testing.T) {
	t.Parallel()
	a := New()
	for _, name := range a.Languages() {
		if !Supported(name) {
			t.Errorf("%s is listed and not supported", name)
		}
	}
	if Supported("xx") || Supported("") {
		t.Error("an unknown language is supported")
	}
}
