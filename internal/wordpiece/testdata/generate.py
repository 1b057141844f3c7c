"""Writes what the reference implementation gives texts, for the tests of this package.

    cases.json      texts with their ids, by the tokenizer of BERT's uncased models
    options.json    the same by tokenizers that keep case, accents, or ideographs in words, and by one that knows special tokens
    characters.txt  a hash over the ids of "a" + c + "b" for each character c of Unicode

Needs the package `tokenizers` (0.23 is what it was made with) and the vocabulary, uncompressed:

    pip install tokenizers==0.23.*
    gzip -dc ../vocab.txt.gz > /tmp/vocab.txt
    python generate.py /tmp/vocab.txt
"""

import hashlib
import json
import sys

from tokenizers import AddedToken, BertWordPieceTokenizer

TEXTS = [
    "",
    " \t\r\n ",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "unaffordable unbelievably antidisestablishmentarianism",
    "Don't split what's not (really) split-able...",
    "It costs $4.99, or 3,50 € - about £3; call +1 (555) 010-9999.",
    "e-mail: jane.doe+tag@example.org, see https://example.org/a/b?c=d&e=%20#frag",
    "MIXED Case iPhone McDonald NASA eBay",
    "line one\nline two\r\nline three\rline four",
    "tabs\tand\tvertical\x0btabs\x0cand form feeds",
    "zero\u200bwidth space, soft\u00adhyphen, word\u2060joiner, bom\ufeff inside",
    "control\x01characters\x7fgo away\x1b[0m",
    "next\u0085line, line\u2028separator, paragraph\u2029separator",
    "no\u00a0break, thin\u2009space, ideographic\u3000space",
    "Crème brûlée, naïve façade, El Niño, Ångström, smørrebrød",
    "cafe\u0301 versus café: combining and composed",
    "Zürich, Straße, GROẞE, Übermut, ﬁne ligature",
    "İstanbul'da ılık bir gün; DİYARBAKIR",
    "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Zażółć gęślą jaźń",
    "Tiếng Việt có nhiều dấu thanh",
    "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "Її вулиця — найгарніша; йод",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΥΣΣΕΥΣ",
    "שָׁלוֹם עולם",
    "مرحبا بالعالم، كيف حالُك؟",
    "नमस्ते दुनिया, यह एक वाक्य है।",
    "বাংলা ভাষা খুব সুন্দর",
    "தமிழ் மொழி",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "ქართული ენა",
    "Հայերեն լեզու",
    "አማርኛ ቋንቋ",
    "数据库索引优化指南。第一章：概述",
    "我在2024年买了iPhone15，花了8000元。",
    "日本語の文章です。カタカナとひらがな、漢字。",
    "ガギグ ﾊﾝｶｸ ＦＵＬＬ ｗｉｄｔｈ！",
    "한국어 문장입니다. 데이터베이스 색인",
    "豈更 compatibility ideographs and 𠀀𠀁 of plane two, 𫠠 and 𫤠 of extension E",
    "😀 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☕",
    "text😀glued🎉together",
    "E = mc² ≠ ∑ x_i ≤ ∞ ½ ³ ℃ Ω K №",
    "«guillemets» “quotes” ‘single’ „low“ – en — em … ‰ † •",
    "; greek question mark, ` grave; · middle dot",
    "[square] brackets, {curly}, <angle>, ~tilde, ^caret, |bar|, \\backslash",
    "func (t *Tokenizer) Count(text string) int { return len(text) >> 2 }",
    "SELECT a.id, COUNT(*) FROM documents AS a WHERE a.owner_id = $1 GROUP BY 1;",
    "def f(x): return {k: v**2 for k, v in x.items() if k != '__init__'}",
    '<div class="note" data-x=\'1\'>&nbsp;&amp;</div>',
    "# Heading\n\n* item **bold** _italic_ `code`\n\n| a | b |\n|---|---|\n",
    "0123456789 3.14159265358979 1e-9 0xDEADBEEF 2024-02-29T23:59:59Z",
    "550e8400-e29b-41d4-a716-446655440000 d41d8cd98f00b204e9800998ecf8427e",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "a" * 100,
    "a" * 101,
    "é" * 100 + " " + "é" * 101,
    "x" * 60 + "-" + "y" * 60,
    "TGxvcmVtIGlwc3VtIGRvbG9yIHNpdCBhbWV0LCBjb25zZWN0ZXR1ciBhZGlwaXNjaW5nIGVsaXQ=",
    "Z\u0351\u036b\u0343a\u0329\u0329\u030dl\u0337\u0301g\u0320o\u0335 text",
    "ꙮ ᚠᛇᚻ 𝕳𝖊𝖑𝖑𝖔 𝟙𝟚 Ⅷ ①",
    "the the the THE The tHe",
    "replacement \ufffd character and private \ue000 use",
]

SPECIAL = [
    "[CLS] and [SEP] in a text, [UNK] and[MASK]too, [PAD]",
    "[SEP][SEP] [ SEP ] [sep] [[SEP]] \\[SEP]",
    "a [MASK] b  [MASK]",
    "un[SEP]affordable",
]


def write(name: str, cases: list) -> None:
    with open(name, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


def main() -> None:
    vocabulary = sys.argv[1]
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
    write(
        "cases.json",
        [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS],
    )

    characters = hashlib.sha256()
    every = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    for first in range(0, len(every), 20000):
        part = every[first : first + 20000]
        encodings = tokenizer.encode_batch([f"a{chr(c)}b" for c in part], add_special_tokens=False)
        for c, encoding in zip(part, encodings):
            characters.update(f"{c}: {' '.join(map(str, encoding.ids))}\n".encode())
    with open("characters.txt", "w") as file:
        file.write(characters.hexdigest() + "\n")

    cases = []
    for lower, strip, ideographs in [(False, None, True), (True, False, True), (False, True, True), (True, None, False)]:
        tokenizer = BertWordPieceTokenizer(
            vocabulary, lowercase=lower, strip_accents=strip, handle_chinese_chars=ideographs
        )
        for text in TEXTS:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append({"lower": lower, "strip": strip, "ideographs": ideographs, "text": text, "ids": ids})
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    for text in SPECIAL:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"lower": True, "strip": None, "ideographs": True, "special": True, "text": text, "ids": ids})
    write("options.json", cases)


main()
