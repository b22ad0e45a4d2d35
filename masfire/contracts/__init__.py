"""Contracts: what agents must do, judged by one engine online and offline."""
