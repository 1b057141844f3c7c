// Package analysis turns text into the terms that the text index holds.
//
// A text has one language, found by [Analyzer.Detect] or given. Its words are
// found by Unicode segmentation (UAX #29) after compatibility normalisation
// (NFKC), then each word becomes at most a few terms:
//
//   - lower case, elisions and possessives cut ("l'avion", "Ankara'nın"),
//     stop words dropped (they keep their position, as a gap);
//   - stemmed by the language's Snowball stemmer (a light suffix stripper for
//     Hindi; none for Greek and Persian), diacritics of Latin and Greek folded
//     after that;
//   - tagged with the language: "en:run". The tag keeps the German article
//     "die" apart from the English verb.
//
// A word in a script that its text's language does not use is analysed as the
// default language of that script, so the Latin product name inside a Chinese
// text is "en:postgresql" and a Russian quotation in an English text is
// stemmed as Russian. Words that hold a digit are not stemmed and are tagged
// "und" whatever the language: "und:v1.2.3", "und:2024".
//
// Chinese, Japanese and Korean runs become overlapping pairs of characters,
// tagged "und" in every language, and each single character besides, so that a
// question of one character finds something. Thai, Lao, Khmer and Burmese, for
// which segmentation needs a dictionary, are treated the same way.
//
// Identifiers are kept whole and are found by their parts too: "foo_bar" and
// "fooBar" give the whole and "foo", "bar". E-mail addresses and URLs are cut
// at their punctuation; a phrase query finds the exact form.
//
// Terms that merely give a word a second way to be found are marked
// [Token.Extra] and do not count as length.
package analysis
