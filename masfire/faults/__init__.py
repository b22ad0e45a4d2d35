"""Faults: how a system is broken on purpose, where, when and how often."""
