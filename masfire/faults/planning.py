"""Planning faults."""
