"""Metrics: the one place that compares what happened with the ground truth of injections."""
