"""Computes the expected scores of bm25.json with bm25s, an independent BM25.

    pip install bm25s==0.3.16
    python3 internal/postings/testdata/bm25.py    # from the top of the repository

It reads the terms that internal/analysis keeps in its testdata/terms.json and
writes bm25.json beside itself.
"""
import json
import pathlib

import bm25s

here = pathlib.Path(__file__).parent
terms = json.loads((here / "../../analysis/testdata/terms.json").read_text())
model = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
model.index(terms["docs"], show_progress=False)
known = {t for d in terms["docs"] for t in d}
queries = []
for query in terms["queries"]:
    asked = [t for t in query if t in known]
    scores = model.get_scores(asked) if asked else [0.0] * len(terms["docs"])
    queries.append({"terms": query, "scores": [float(s) for s in scores]})
out = {"made_by": f"bm25s {bm25s.__version__}, method lucene, k1 1.2, b 0.75, float64", "docs": terms["docs"], "queries": queries}
(here / "bm25.json").write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n")
