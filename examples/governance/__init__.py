"""Four ways to put a system under governance, three lines each, and a check of one's own."""
