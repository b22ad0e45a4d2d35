"""Named patterns: the contracts that most people write, from fields to rules."""

from masfire.contracts.patterns.book import PATTERNS, rules_of_pattern

__all__ = ["PATTERNS", "rules_of_pattern"]
