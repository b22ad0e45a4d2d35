"""Atomic claims of a text or JSON value: what it states, piece by piece."""

from masfire.claims.extract import Claim, claims_of, claims_of_text, difference, sentences

__all__ = ["Claim", "claims_of", "claims_of_text", "difference", "sentences"]
