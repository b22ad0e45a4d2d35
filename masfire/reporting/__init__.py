"""Reporting: pages and files made from results, computing nothing."""
