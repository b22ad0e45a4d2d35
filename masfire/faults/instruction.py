"""Instruction faults."""
