"""How fast the memory recalls among 100,000 schemata, beside other searches and a call of the local model.

Run: python benchmarks/bench_memory.py [--n 100000] [--rounds 7] [--out FILE]

One round asks each of the searchers the same queries in turn; figures are medians over rounds. The
embedding of the query is left out for the vector searches, as a team may use a model for it, and shown
apart. Recall of the exact nearest neighbours is checked against a plain matrix product. The local model is
asked once in each round: what recall is held to is measured, in the same minutes.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from local_call import TOKENS, local_call
from usearch.index import Index

from masfire.knowledge.embedding import HashEmbedder
from masfire.knowledge.memory import Memory
from masfire.knowledge.model import ErrorSchema, Signature, Source, schema_id
from masfire.knowledge.questions import QUESTIONS
from masfire.knowledge.search import best
from masfire.knowledge.store import SqliteStore

WORDS = [f"w{n}" for n in range(20_000)]
GOAL = 1 / 20
RECALL = "masfire: recall (words and vectors, thresholds, quotas, embedding included)"


def made(n: int) -> list[ErrorSchema]:
    """Return n different schemata of 3 to 8 traits and 30 words of a Zipf-like vocabulary."""
    rng = random.Random(0)
    traits = list(QUESTIONS)
    ranks = 1.0 / np.arange(1, len(WORDS) + 1)
    drawn = np.random.default_rng(0).choice(len(WORDS), size=(n, 30), p=ranks / ranks.sum())
    schemata = []
    for number in range(n):
        signature = Signature(
            tuple(sorted(rng.sample(traits, rng.randint(3, 8)))),
            " ".join(WORDS[word] for word in drawn[number]),
        )
        fault, role = f"fault{number % 15}", f"role{number % 40}"
        schemata.append(
            ErrorSchema(
                schema_id(signature, fault=fault, role=role), signature, fault, role,
                evidence=(Source(f"run{number}", 1, role, f"campaign{number % 100}"),),
            )
        )  # fmt: skip
    return sorted(schemata, key=lambda schema: schema.id)  # as a store hands them out


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    schemata = made(given.n)
    documents = [schema.document for schema in schemata]
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "m.sqlite")
        store.put(*schemata)
        opened = timed(lambda: Memory(store))
        begun = time.perf_counter()
        memory = Memory(store)
        reopened = time.perf_counter() - begun
        first = timed(lambda: memory.recall("the first recall splits the documents"))
        embedder = HashEmbedder()
        vectors = embedder.embed(documents)
        near = Index(ndim=vectors.shape[1], metric="cos", dtype="f32")
        near.add(np.arange(given.n), vectors)
        lexical = bm25s.BM25()
        lexical.index(bm25s.tokenize(documents, show_progress=False, stopwords=None), show_progress=False)
        full = sqlite3.connect(":memory:")
        full.execute("CREATE VIRTUAL TABLE doc USING fts5(body)")
        full.executemany("INSERT INTO doc VALUES (?)", ((document,) for document in documents))
        rng = random.Random(1)
        asked = [documents[rng.randrange(given.n)] for _ in range(given.queries)]
        exact = embedder.embed(asked)
        hits = 0
        for vector in exact:
            truth = set(np.argsort(-(vectors @ vector))[:10].tolist())
            hits += len(truth & set(best(memory._vectors.scores(vector), 10)))
        searchers: dict[str, Callable[[int], Any]] = {
            "embed the query": lambda i: embedder.embed([asked[i]]),
            RECALL: lambda i: memory.recall(asked[i]),
            "masfire: words alone": lambda i: best(memory._words.scores(asked[i]), 10),
            "masfire: vectors alone": lambda i: best(memory._vectors.scores(exact[i]), 10),
            "usearch, exact": lambda i: near.search(exact[i], 10, exact=True),
            "usearch, HNSW": lambda i: near.search(exact[i], 10),
            "bm25s": lambda i: lexical.retrieve(
                bm25s.tokenize([asked[i]], show_progress=False, stopwords=None), k=10, show_progress=False
            ),
            "SQLite FTS5": lambda i: full.execute(
                "SELECT rowid FROM doc WHERE doc MATCH ? ORDER BY rank LIMIT 10",
                (" OR ".join(f'"{word}"' for word in asked[i].split()),),
            ).fetchall(),
        }
        found: dict[str, list[float]] = {name: [] for name in searchers}
        calls: list[float] = []
        with local_call() as call:
            for _ in range(given.rounds):
                calls.append(call())
                for name, search in searchers.items():
                    found[name].append(
                        statistics.median(timed(partial(search, i)) for i in range(given.queries))
                    )
        store.close()
    settings = f"{given.n} schemata, {given.rounds} interleaved rounds of {given.queries} queries, medians"
    right = f"recall@10 of the exact vectors {hits / (10 * given.queries):.3f}"
    opening = f"{opened:.1f} s at first (vectors are made and kept), {reopened:.1f} s later"
    lines = [
        f"{settings}; opening took {opening}, the first recall {first:.1f} s; {right}.",
        "",
        "| search | ms a query | of a local model call |",
        "|---|---|---|",
    ]
    called = statistics.median(calls)
    for name, rounds in found.items():
        middle = statistics.median(rounds)
        lines.append(f"| {name} | {middle * 1e3:.2f} | {middle / called:.4f} |")
    lines.append(f"| the local model, {TOKENS} tokens | {called * 1e3:.0f} | 1 |")
    met = "met" if statistics.median(found[RECALL]) <= GOAL * called else "not met"
    lines += ["", f"Goal: recall at most 1/20 of a call of the local model ({called:.2f} s): {met}."]
    text = "\n".join(lines)
    print(text)
    if given.out:
        given.out.write_text(f"# Recall among many schemata\n\n`python benchmarks/bench_memory.py`: {text}\n")


if __name__ == "__main__":
    main()
