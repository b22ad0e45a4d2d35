"""Campaigns: systems by faults by tasks by seeds, with fault-free controls, resumable at any instant."""
