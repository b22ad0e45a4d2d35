"""Configuration faults."""
