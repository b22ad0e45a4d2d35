"""The record of a run: its nouns, its file, its secrets kept."""
