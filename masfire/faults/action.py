"""Action faults."""
