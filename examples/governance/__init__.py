"""Four ways to put a system under governance, three lines each."""
