"""Logs of other tools, recognised by their shape and read as runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from masfire.adapters import chatlog, taubench, whowhen
from masfire.adapters.imported import Imported, read_json, read_lines
from masfire.errors import UsageError
from masfire.trace.io import read_trace
from masfire.trace.lines import recognizable

Convert = Callable[[Any, str], list[Imported]]

FORMS: dict[str, tuple[Callable[[Any], bool], Convert, str]] = {
    "whowhen": (whowhen.recognizes, lambda data, where: [whowhen.convert(data, where=where)], whowhen.SHAPE),
    "taubench": (
        taubench.recognizes,
        lambda data, where: taubench.convert(data, where=where),
        taubench.SHAPE,
    ),
    "chat": (chatlog.recognizes, lambda data, where: [chatlog.convert(data, where=where)], chatlog.SHAPE),
}
"""name: (whether a value has this shape, how it becomes runs, the shape in words)."""


def read_runs(path: str | Path, *, form: str = "auto") -> list[Imported]:
    """Return the runs of a file: a trace of masfire, or a log whose shape is known.

    `form` is `auto`, `trace` or one of FORMS. Raise UsageError for an unknown shape, saying which
    shapes are known; TraceError for a damaged trace.
    """
    path = Path(path)
    if form == "trace" or (form == "auto" and _is_trace(path)):
        trace = read_trace(path)
        task = bytes(trace.header.task).decode("utf-8", "replace")
        return [Imported(trace=trace, group=str(trace.header.launch.get("task", task)))]
    if path.suffix == ".jsonl":
        if form in ("auto", "chat"):
            return chatlog.read(path)
        lines = read_lines(path)
        return [
            run for number, line in enumerate(lines, 1) for run in _convert(line, f"{path}:{number}", form)
        ]
    return _convert(read_json(path), str(path), form)


def _convert(data: Any, where: str, form: str) -> list[Imported]:
    for name, (recognizes, convert, _) in FORMS.items():
        if form == name or (form == "auto" and recognizes(data)):
            return convert(data, where)
    shapes = "; ".join(f"{name}: {shape}" for name, (_, _, shape) in FORMS.items())
    raise UsageError("The shape of this log is not known.", hint=f"Known are {shapes}.", where=where)


def _is_trace(path: Path) -> bool:
    with path.open("rb") as file:
        return recognizable(file.readline(4096))
