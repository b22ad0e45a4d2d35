"""Monitors of promises that are no formula: repetition, ends, retries, flow, support, shape."""
