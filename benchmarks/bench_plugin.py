"""What the plugin adds to `pytest` of one empty test: interleaved processes, with and without it.

No other plugin is loaded, so the baseline is as small as it gets and the share as large.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 25
LIMIT = 0.05

WITHOUT: tuple[str, ...] = ()
WITH = ("-p", "masfire.pytest_plugin")
ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # byte code is cached on users' machines


def seconds(place: str, *options: str) -> float:
    """Return the processor seconds (user and system) of one pytest process; they vary less than wall time."""
    command = [sys.executable, "-m", "pytest", "-q", *options, "test_empty.py"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=place, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the medians and the median of the paired differences; fail above the limit."""
    with tempfile.TemporaryDirectory() as place:
        Path(place, "test_empty.py").write_text("def test_empty():\n    pass\n", encoding="ascii")
        ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(Path(place, "cache"))
        for options in (WITHOUT, WITH):
            seconds(place, *options)  # fill the byte-code caches
        pairs = []
        for turn in range(ROUNDS):
            order = (WITHOUT, WITH) if turn % 2 else (WITH, WITHOUT)
            measured = {options: seconds(place, *options) for options in order}
            pairs.append((measured[WITHOUT], measured[WITH]))
    without, with_plugin = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(second - first for first, second in pairs)
    print(f"pytest of one empty test, median of {ROUNDS} interleaved pairs")
    print(f"  without masfire  {without * 1000:7.1f} ms")
    print(f"  with masfire     {with_plugin * 1000:7.1f} ms")
    print(f"  added            {added * 1000:7.1f} ms = {added / without:.1%} (limit {LIMIT:.0%})")
    if added / without > LIMIT:
        sys.exit(1)


if __name__ == "__main__":
    main()
