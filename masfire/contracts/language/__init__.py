"""The language of contracts: one syntax tree, reached from formulas, patterns and decorators."""
