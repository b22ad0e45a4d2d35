"""Memory faults."""
