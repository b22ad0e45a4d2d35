"""Search in memory says what plain definitions say."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.knowledge.embedding import HashEmbedder, words_of
from masfire.knowledge.search import K1, B, LexicalIndex, VectorIndex, best

DOCUMENTS = st.lists(
    st.lists(st.sampled_from(["pay", "ship", "crate", "order", "red", "error:type"]), max_size=8).map(
        " ".join
    ),
    min_size=1,
    max_size=12,
)


def bm25(documents, query):
    """BM25 straight from its definition, divided by the weight of the query's words, at most 1."""
    split = [words_of(document) for document in documents]
    mean = max(sum(map(len, split)) / len(split), 1.0)
    terms = set(words_of(query))
    weight = {}
    for term in terms:
        found = sum(term in words for words in split)
        weight[term] = math.log(1 + (len(split) - found + 0.5) / (found + 0.5))
    scores = []
    for words in split:
        counts = Counter(words)
        score = sum(
            weight[term] * (K1 + 1) * counts[term] / (counts[term] + K1 * (1 - B + B * len(words) / mean))
            for term in terms
        )
        scores.append(min(score / sum(weight.values()), 1.0) if terms else 0.0)
    return scores


@given(DOCUMENTS, DOCUMENTS)
def test_the_lexical_index_is_bm25(documents, queries):
    index = LexicalIndex()
    for document in documents:
        index.add(document)
    for query in queries:
        np.testing.assert_allclose(index.scores(query), bm25(documents, query), rtol=1e-4, atol=1e-5)


@given(DOCUMENTS, st.data())
def test_removed_documents_score_nothing(documents, data):
    index = LexicalIndex()
    for document in documents:
        index.add(document)
    gone = data.draw(st.sets(st.integers(0, len(documents) - 1)))
    for number in gone:
        index.remove(number)
    scores = index.scores(" ".join(documents))
    assert all(scores[number] == 0 for number in gone)
    assert len(index) == len(documents) - len(gone)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(1, 10))
def test_best_is_a_stable_sort(values, k):
    expected = sorted(range(len(values)), key=lambda number: (-values[number], number))[:k]
    assert list(best(np.asarray(values, dtype=np.float32), k)) == expected


def test_the_vector_index_grows_and_is_exact():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    index = VectorIndex(16)
    for start in range(0, 500, 7):
        index.add(vectors[start : start + 7])
    np.testing.assert_allclose(index.scores(vectors[3]), vectors @ vectors[3], rtol=1e-4, atol=1e-5)
    index.remove(3)
    assert index.scores(vectors[3])[3] == 0


@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_the_default_embedding_is_deterministic_and_of_unit_length(texts):
    vectors = HashEmbedder(64).embed(texts)
    np.testing.assert_array_equal(vectors, HashEmbedder(64).embed(texts))
    lengths = np.linalg.norm(vectors, axis=1)
    for text, length in zip(texts, lengths, strict=True):
        assert length < 1e-6 if not words_of(text) else abs(length - 1) < 1e-5 or length == 0


@pytest.mark.parametrize("used", [3, 40])
def test_vectors_give_the_product_for_sparse_and_dense_queries(used: int) -> None:
    rng = np.random.default_rng(used)
    rows = rng.standard_normal((200, 40)).astype(np.float32)
    query = np.zeros(40, dtype=np.float32)
    query[:used] = rng.standard_normal(used)
    index = VectorIndex(40)
    index.add(rows[:1])
    index.add(rows[1:])
    index.remove(7)
    expected = rows @ query
    expected[7] = 0.0
    np.testing.assert_allclose(index.scores(query), expected, atol=1e-5)
    np.testing.assert_array_equal(index.row(9), rows[9])
