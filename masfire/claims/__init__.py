"""Atomic claims of a text or JSON value: what it states, piece by piece, and how two pieces relate."""

from masfire.claims.extract import Claim, claims_of, claims_of_text, difference, sentences
from masfire.claims.relation import Known, Relation, relate
from masfire.claims.statements import Statement, statement, statements_of

__all__ = [
    "Claim", "Known", "Relation", "Statement", "claims_of", "claims_of_text", "difference", "relate",
    "sentences", "statement", "statements_of",
]  # fmt: skip
