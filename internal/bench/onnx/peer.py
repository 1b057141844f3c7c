"""Embeds texts with a model of sentence-transformers in ONNX Runtime: what `bench -parts embed` measures beside llmemory.

    pip install onnxruntime onnx tokenizers torch transformers sentence-transformers
    LLMEMORY_BENCH_PYTHON=python3 make bench BENCHFLAGS='-parts embed'

Usage: peer.py MODEL-FOLDER SCRATCH-FOLDER THREADS. It exports the model to SCRATCH-FOLDER, once as PyTorch does and once as ONNX Runtime's
own optimizer for BERT makes it better, takes the faster of the two, and says {"version": …, "form": …}. Then it answers a line of JSON,
{"texts": [...], "batch": 32}, with another, {"seconds": …, "first": [the first vector]}. Texts are sorted by length and batches are
padded to their longest text, as sentence-transformers does.
"""

import json
import os
import sys
import time
import warnings

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

warnings.filterwarnings("ignore")


def export(folder: str, path: str) -> None:
    import torch
    from transformers import AutoModel

    class Hidden(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids, mask, types):
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.randint(1000, 20000, (2, 16))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        Hidden(model), (ids, torch.ones_like(ids), torch.zeros_like(ids)), path, input_names=names, output_names=["hidden"],
        dynamic_axes={n: {0: "batch", 1: "length"} for n in names + ["hidden"]}, opset_version=17, dynamo=False,
    )


def optimize(path: str, better: str, config: dict) -> None:
    from onnxruntime.transformers import optimizer

    model = optimizer.optimize_model(
        path, model_type="bert", num_heads=config["num_attention_heads"], hidden_size=config["hidden_size"]
    )
    model.save_model_to_file(better)


class Peer:
    def __init__(self, folder: str, path: str, threads: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        with open(os.path.join(folder, "sentence_bert_config.json")) as file:
            self.tokenizer.enable_truncation(json.load(file)["max_seq_length"])
        self.tokenizer.enable_padding()

    def embed(self, texts: list[str], batch: int) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out = None
        for first in range(0, len(order), batch):
            part = order[first : first + batch]
            encoded = self.tokenizer.encode_batch([texts[i] for i in part])
            ids = np.array([e.ids for e in encoded], dtype=np.int64)
            mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            wanted = {i.name for i in self.session.get_inputs()}
            hidden = self.session.run(None, {k: v for k, v in inputs.items() if k in wanted})[0]
            weights = mask[:, :, None].astype(np.float32)
            vectors = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            if out is None:
                out = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
            out[part] = vectors
        return out


def main() -> None:
    folder, scratch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    plain, better = os.path.join(scratch, "model.onnx"), os.path.join(scratch, "better.onnx")
    export(folder, plain)
    optimize(plain, better, config)
    best = None
    for form, path in [("as exported", plain), ("optimized for BERT", better)]:
        peer = Peer(folder, path, threads)
        texts = ["the quick brown fox jumps over the lazy dog " * 12] * 32
        peer.embed(texts, 32)
        start = time.perf_counter()
        peer.embed(texts, 32)
        seconds = time.perf_counter() - start
        if best is None or seconds < best[0]:
            best = (seconds, form, peer)
    _, form, peer = best
    print(json.dumps({"version": onnxruntime.__version__, "form": form}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        if job["batch"] == 1:
            vectors = np.concatenate([peer.embed([text], 1) for text in job["texts"]])
        else:
            vectors = peer.embed(job["texts"], job["batch"])
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "first": [float(x) for x in vectors[0]]}), file=answers, flush=True)


main()
