"""Writes run.txt, qrels.txt and want.json: a made-up run with its judgements,
and what trec_eval says about it. Run in this folder:

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install pytrec_eval-terrier==0.5.11   # wraps trec_eval 9
    /tmp/venv/bin/python make.py

Scores are multiples of 1/8, exact in the single precision of trec_eval, so that
a tie is a tie for it and for us.
"""

import json
import random

import pytrec_eval

rng = random.Random(20260101)
qrels, run = {}, {}


def query(name, grades, results):
    qrels[name] = grades
    if results is not None:
        run[name] = results


# By hand: each a case with a name.
query("perfect", {"a": 3, "b": 2, "c": 1}, {"a": 3.0, "b": 2.0, "c": 1.0})
query("reversed", {"a": 3, "b": 2, "c": 1}, {"a": 1.0, "b": 2.0, "c": 3.0})
query("unanswered", {"a": 1}, None)
query("none_found", {"a": 2, "b": 1}, {"x": 2.0, "y": 1.0})
query("unjudged_first", {"a": 2, "b": 0}, {"x": 9.0, "b": 8.0, "a": 7.0})
query("all_tied", {"m": 2, "a": 1, "z": 0}, {"a": 1.0, "z": 1.0, "m": 1.0, "k": 1.0})
query("tie_at_10", {"d10": 1}, {f"d{i:02}": 12.0 - min(i, 10) for i in range(1, 14)})
query("first_at_10", {"d10": 1}, {f"d{i:02}": 99.0 - i for i in range(1, 14)})
query("first_at_11", {"d11": 1}, {f"d{i:02}": 99.0 - i for i in range(1, 14)})
query("first_at_5", {"d05": 2}, {f"d{i:02}": 99.0 - i for i in range(1, 14)})
query("first_at_6", {"d06": 2}, {f"d{i:02}": 99.0 - i for i in range(1, 14)})
query("negative_grade", {"a": -1, "b": 1, "c": -2, "d": 2}, {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0})
query("negative_scores", {"a": 1, "b": 1}, {"a": -5.0, "b": -0.5, "c": 0.0})
query("nothing_relevant", {"a": 0, "b": -1}, {"a": 2.0, "b": 1.0})

# At random: more relevant documents than ranks, lists longer than every cut-off,
# many ties, judged and unjudged documents.
for i in range(30):
    grades = {f"doc{d}": rng.choice([-1, 0, 0, 1, 1, 2, 3]) for d in rng.sample(range(400), rng.randint(3, 150))}
    grades["doc400"] = 1
    pool = rng.sample(range(400), rng.randint(1, 250))
    scores = {f"doc{d}": rng.randint(1, 400) / 8 + max(0, grades.get(f"doc{d}", 0)) for d in pool}
    query(f"random{i:02}", grades, scores)

run["unknown_query"] = {"a": 1.0}

evaluator = pytrec_eval.RelevanceEvaluator(
    qrels, {"ndcg_cut.3,10", "recall.10,100", "map", "recip_rank", "success.1,5"}
)
# trec_eval leaves out queries without an answer unless told otherwise (-c), and
# then scores them 0.
measured = evaluator.evaluate({name: run.get(name, {}) or {"not_a_document": 1.0} for name in qrels})

want = {}
for name, m in sorted(measured.items()):
    # recip_rank has no cut-off: the run cut at 10 has it above rank 10 only.
    rr = m["recip_rank"]
    want[name] = {
        "ndcg@3": m["ndcg_cut_3"],
        "ndcg@10": m["ndcg_cut_10"],
        "recall@10": m["recall_10"],
        "recall@100": m["recall_100"],
        "map": m["map"],
        "mrr@10": rr if rr >= 0.1 else 0.0,
        "mrr": rr,
        "success@1": m["success_1"],
        "success@5": m["success_5"],
    }

with open("qrels.txt", "w") as f:
    for name, grades in sorted(qrels.items()):
        for doc, grade in sorted(grades.items()):
            f.write(f"{name} 0 {doc} {grade}\n")
with open("run.txt", "w") as f:
    for name, results in sorted(run.items()):
        # The rank is made up from the reading order: trec_eval must ignore it.
        for rank, (doc, score) in enumerate(sorted(results.items()), 1):
            f.write(f"{name} Q0 {doc} {rank} {score} made-up\n")
with open("want.json", "w") as f:
    json.dump(want, f, indent=1)
    f.write("\n")
