"""Reasoning faults."""
