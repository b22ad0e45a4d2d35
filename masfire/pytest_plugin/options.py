"""The plugin's options: each on the command line as --masfire-NAME and in the ini file as masfire_NAME.

Kept apart from their reading, because this is all that a test suite without masfire tests pays for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HELP = {
    "faults": "Fault addresses, separated by commas (repeatable; 'all': every fault). Replaces the markers'.",
    "seeds": "Seeds to run each marked test under, for example 0,1,2 or 0-4. Replaces the markers'.",
    "seed": "Seed of runs that name none (default 0).",
    "dir": "Directory for trace files, relative to the root directory (default .masfire/traces).",
    "report": "What the summary lists: all, failures (default) or none.",
    "privacy": "What traces hold: full, redacted (default) or content-off.",
    "redact": "Further secret patterns (RE2 syntax) to blank out before anything is written (repeatable).",
    "control": "Whether every expanded test also gets a fault-free case for each seed (true or false).",
    "contracts": "Contracts (a file, a folder or a pack) that recorded tests are judged by. Replaces the "
    "markers' (repeatable).",
    "record": "Answer models from cassettes: none (only from them), once (record what has no cassette), "
    "new_episodes (also what is new in one) or all (record anew).",
    "cassettes": "Folder for cassettes, beside each test's file (default masfire_traces).",
    "live_tools": "Whether tools run for real in a run answered from a cassette (default true).",
    "draws": "Whether random draws and clock reads of the code under test are recorded too, for replays "
    "(true or false, the default).",
    "budget_steps": "Steps after which a run is stopped (0: unlimited; default 100000).",
    "budget_calls": "Model calls after which a run is stopped (0: unlimited; default 2000).",
    "budget_seconds": "Seconds after which a run is stopped at its next step (0: unlimited; the default).",
}
LISTS = ("faults", "redact", "contracts")


def declare(parser: pytest.Parser) -> None:
    """Add every option and its ini key to pytest's parser."""
    group = parser.getgroup("masfire", "masfire: fault injection for multi-agent LLM systems")
    for name, text in HELP.items():
        listed = name in LISTS
        if listed:
            parser.addini(f"masfire_{name}", text, type="linelist", default=None)
        else:
            parser.addini(f"masfire_{name}", text, type="string", default=None)
        group.addoption(
            option(name),
            dest=f"masfire_{name}",
            action="append" if listed else "store",
            default=None,
            help=text,
        )


def option(name: str) -> str:
    """Return the option's spelling on the command line."""
    return f"--masfire-{name.replace('_', '-')}"
