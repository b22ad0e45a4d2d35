"""A trace in a file: everything that reads or writes one, by name."""

from masfire.trace.limits import Limits
from masfire.trace.reader import Record, iter_records, read_trace
from masfire.trace.scan import Seen, scan
from masfire.trace.writer import MemorySink, TraceWriter, save_trace

__all__ = [
    "Limits", "MemorySink", "Record", "Seen", "TraceWriter", "iter_records", "read_trace", "save_trace",
    "scan",
]  # fmt: skip
