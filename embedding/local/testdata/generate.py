"""Writes the models of these tests and what the reference implementations give for texts.

    bert/      a model of sentence-transformers with random weights, two layers of 32 dimensions, and its vectors
    prompts/   the same weights in half precision, other poolings, prompts, no tokenizer.json
    static/    a model2vec with random weights, and its vectors
    mapped/    one whose vocabulary is quantised: with weights, a mapping, and vectors of 8 bits
    sentence/  a StaticEmbedding of sentence-transformers
    ../../../internal/nn/testdata/cross/  a cross-encoder with random weights, and its scores of pairs
    minilm.json  vectors of all-MiniLM-L6-v2, if its folder is given: 32-bit floats, little-endian, in base64

    pip install torch==2.15.0 sentence-transformers==6.2.0 transformers==5.24.0 tokenizers==0.23.3 model2vec
    gzip -dc ../../../internal/wordpiece/vocab.txt.gz > /tmp/vocab.txt
    python generate.py /tmp/vocab.txt [folder of all-MiniLM-L6-v2]
"""

import base64
import json
import os
import shutil
import sys

import numpy as np
import torch
from model2vec import StaticModel
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import AddedToken, BertWordPieceTokenizer, Tokenizer
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

NN = "../../../internal/nn/testdata"

TEXTS = [
    "",
    "The ferry leaves at six.",
    "the FERRY leaves at six",
    "When does the first boat go?",
    "The bridge is closed on Monday; take the ferry instead.",
    "Crème brûlée, naïve façade, Ångström",
    "数据库索引 and 한국어, 日本語",
    "😀 text😀glued🎉together",
    "control\x01characters \u200b\u00ad and\u00a0spaces\t\n",
    "[CLS] in a text [SEP] and [MASK], [UNK]",
    "a" * 101 + " after a word that is too long",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "0123456789 3.14159 1e-9 2024-02-29T23:59:59Z",
    "func (t *Tokenizer) Count(text string) int { return len(text) >> 2 }",
    "   white space around   ",
    "one two three four five six seven eight nine ten " * 40,
]

MORE = [
    "A man is eating a piece of bread.",
    "Someone has a meal.",
    "How do I reset my password?",
    "Passwords can be changed in the account settings.",
    "The mitochondrion is the powerhouse of the cell.",
    "Cellular respiration takes place in organelles.",
    "Berlin ist die Hauptstadt von Deutschland.",
    "Съешь же ещё этих мягких французских булок",
    "SELECT a.id, COUNT(*) FROM documents AS a GROUP BY 1;",
    "The committee's unforeseen recommendations were published on Tuesday. " * 10,
    "The quick brown fox jumps over the lazy dog. " * 60,
    "word " * 254,
    "word " * 255,
    ". . . ! ? - —",
]

# Enough to spell English, with some whole words.
WORDS = """[PAD] [UNK] [CLS] [SEP] [MASK] the a of and to in is on at for with by from as it that this be are was not or an
ferry leaves six first boat go when does bridge closed monday take instead text glued together control characters spaces
after word too long one two three four five six seven eight nine ten white space around func count string int return len
##s ##ed ##ing ##er ##ly ##th ##on ##an ##en ##in ##es ##er ##at ##st ##it ##al""".split()


def vocabulary() -> list[str]:
    letters = [chr(c) for c in range(33, 127) if not chr(c).isupper()] + list("数据日本語한国😀é")
    inner = ["##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    return list(dict.fromkeys(WORDS + letters + inner))


def tokenizer(path: str, vocab: list[str]) -> str:
    """Writes a tokenizer.json as transformers does for BERT."""
    with open(os.path.join(path, "vocab.txt"), "w") as file:
        file.write("\n".join(vocab) + "\n")
    plain = BertWordPieceTokenizer(os.path.join(path, "vocab.txt"), lowercase=True)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    plain.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    plain.save(os.path.join(path, "tokenizer.json"), pretty=False)
    os.remove(os.path.join(path, "vocab.txt"))
    return os.path.join(path, "tokenizer.json")


def fresh(path: str) -> str:
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write(path: str, value) -> None:
    with open(path, "w") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def packed(vectors) -> list[str]:
    return [base64.b64encode(np.asarray(v, dtype="<f4").tobytes()).decode() for v in vectors]


def reference(path: str, texts: list[str], vectors, **more) -> None:
    cases = [{"text": t, "vector": v} for t, v in zip(texts, packed(vectors))]
    write(path, {**more, "cases": cases})


def randomize(model: torch.nn.Module) -> None:
    """Weights so large that texts differ."""
    for name, p in model.named_parameters():
        with torch.no_grad():
            p.copy_(torch.randn_like(p) * 0.25 + (1.0 if "LayerNorm.weight" in name else 0.0))


def bert(vocab: list[str], **more) -> BertConfig:
    return BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=80,
        max_position_embeddings=64, **more,
    )


def make_bert(vocab: list[str]) -> None:
    path = fresh("bert")
    model = BertModel(bert(vocab))
    randomize(model)
    source = fresh("/tmp/source")
    model.save_pretrained(source)
    BertTokenizerFast(tokenizer_file=tokenizer(source, vocab), do_lower_case=True).save_pretrained(source)
    transformer = Transformer(source)
    transformer.max_seq_length = 48
    whole = SentenceTransformer(modules=[transformer, Pooling(32, "mean"), Normalize()], device="cpu")
    whole.save(path, create_model_card=False)
    reference("bert.json", TEXTS, whole.encode(TEXTS, batch_size=1))

    other = fresh("prompts")
    whole = SentenceTransformer(
        modules=[Transformer(source), Pooling(32, ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])],
        prompts={"query": "ferry: ", "document": "bridge! "}, device="cpu",
    )
    whole.save(other, create_model_card=False)
    weights = {k: v.half() for k, v in load_file(os.path.join(other, "model.safetensors")).items()}
    save_file(weights, os.path.join(other, "model.safetensors"), {"format": "pt"})
    whole = SentenceTransformer(other, device="cpu").float()
    with open(os.path.join(other, "vocab.txt"), "w") as file:
        file.write("\n".join(vocab) + "\n")
    os.remove(os.path.join(other, "tokenizer.json"))
    reference("prompts.json", TEXTS, whole.encode_query(TEXTS, batch_size=1),
              passages=packed(whole.encode_document(TEXTS, batch_size=1)))

    cross = fresh(os.path.join(NN, "cross"))
    model = BertForSequenceClassification(bert(vocab, num_labels=1))
    randomize(model)
    model.save_pretrained(source)
    ranker = CrossEncoder(source, max_length=48, device="cpu")
    ranker.save(cross, create_model_card=False)
    pairs = [(TEXTS[3], t) for t in TEXTS] + [(TEXTS[-1], t) for t in TEXTS[1:4]]
    scores = ranker.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity())
    encode = lambda a, b: {k: v[0] for k, v in ranker.tokenizer([a], [b], truncation=True, max_length=48).items()}
    encoded = [encode(a, b) for a, b in pairs]
    for name in os.listdir(cross):
        if name not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(cross, name))
    write(os.path.join(NN, "cross.json"), [
        {"query": a, "text": b, "ids": e["input_ids"], "types": e["token_type_ids"], "score": float(s)}
        for (a, b), e, s in zip(pairs, encoded, scores)
    ])


def make_static(vocab: list[str]) -> None:
    path = fresh("static")
    rows = np.random.default_rng(1).normal(size=(len(vocab), 24)).astype(np.float32)
    tok = Tokenizer.from_file(tokenizer(path, vocab))
    model = StaticModel(rows, tok, config={"model_type": "model2vec"}, normalize=True, max_length=32)
    model.save_pretrained(path)
    known = [t for t in TEXTS if t]
    reference("static.json", known, StaticModel.from_pretrained(path).encode(known))

    path = fresh("mapped")
    rng = np.random.default_rng(2)
    model = StaticModel(
        rng.integers(-127, 128, size=(40, 24)).astype(np.int8), tok, config={"model_type": "model2vec"},
        weights=rng.uniform(0.1, 2, size=len(vocab)), token_mapping=rng.integers(0, 40, size=len(vocab)),
    )
    model.save_pretrained(path)
    reference("mapped.json", known, StaticModel.from_pretrained(path).encode(known))

    path = fresh("sentence")
    whole = SentenceTransformer(modules=[StaticEmbedding(tok, embedding_weights=rows)], device="cpu")
    whole.save(path, create_model_card=False)
    reference("sentence.json", known, whole.encode(known, batch_size=1))


def main() -> None:
    torch.manual_seed(1)
    vocab = vocabulary()
    make_bert(vocab)
    make_static(vocab)
    for folder, _, files in os.walk("."):
        for name in files:
            if name in ("README.md", "training_args.bin", ".gitattributes"):
                os.remove(os.path.join(folder, name))
    if len(sys.argv) > 2:
        texts = TEXTS + MORE
        whole = SentenceTransformer(sys.argv[2], device="cpu")
        reference("minilm.json", texts, whole.encode(texts, batch_size=1))


main()
