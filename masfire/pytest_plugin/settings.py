"""The plugin's options as given on the command line or in the ini file, read and checked."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from masfire.pytest_plugin.options import HELP, option

REPORTS = ("all", "failures", "none")
MODES = ("none", "once", "new_episodes", "all")
"""Record modes, as VCR names them."""

_DEFAULTS = {"budget_steps": 100_000, "budget_calls": 2_000, "budget_seconds": 0.0}

_READ = pytest.StashKey["Settings"]()


@dataclass(frozen=True)
class Settings:
    """The options as given; `given` names those that stand on the command line.

    `faults` and `seeds` are None when neither the command line nor the ini file has them.
    """

    faults: tuple[str, ...] | None
    seeds: tuple[int, ...] | None
    seed: int
    directory: Path
    report: str
    privacy: str
    redact: tuple[str, ...]
    control: bool
    contracts: tuple[str, ...]
    record: str
    cassettes: str
    live_tools: bool
    draws: bool
    budget: dict[str, float]
    given: dict[str, Any]

    def overrides(self, name: str) -> bool:
        """Return whether the command line (not the ini file) has the option."""
        return name in self.given

    def replay_arguments(self) -> list[str]:
        """Return the same options as arguments of a command, without those of recording."""
        return [
            f"{option(name)}={item}"
            for name, value in self.given.items()
            if name not in ("dir", "report", "record", "cassettes")
            for item in (value if isinstance(value, list) else [value])
        ]

    def replay_options(self) -> str:
        """Return the command-line options that a replay of one test has to repeat, quoted."""
        parts = []
        for name, value in self.given.items():
            if name in ("dir", "report"):
                continue
            items = value if isinstance(value, list) else [value]
            parts += [f"{option(name)}={shlex.quote(str(item))}" for item in items]
        return " ".join(parts)


def read(config: pytest.Config) -> Settings:
    """Return the settings of this session (read once); raise pytest.UsageError for a bad value."""
    known = config.stash.get(_READ, None)
    if known is None:
        known = config.stash[_READ] = _read(config)
    return known


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that `text` names, such as "0,1,5-7"; raise ValueError otherwise."""
    seeds: list[int] = []
    for part in text.replace(" ", ",").split(","):
        if not part:
            continue
        first, dash, last = part.partition("-") if not part.startswith("-") else (part, "", "")
        seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    if not seeds:
        raise ValueError("no seed")
    return tuple(dict.fromkeys(seeds))


def _read(config: pytest.Config) -> Settings:
    given = {name: config.getoption(f"masfire_{name}") for name in HELP}
    given = {name: value for name, value in given.items() if value is not None}

    def value(name: str) -> Any:
        return given[name] if name in given else (config.getini(f"masfire_{name}") or None)

    faults = [part.strip() for text in value("faults") or () for part in text.split(",")]
    directory = Path(value("dir") or ".masfire/traces")
    return Settings(
        faults=tuple(filter(None, faults)) or None,
        seeds=_number("seeds", value("seeds"), parse_seeds, "Write numbers such as 0,1,2 or 0-4."),
        seed=_number("seed", value("seed"), int, "Write a whole number.") or 0,
        directory=directory if directory.is_absolute() else config.rootpath / directory,
        report=_choice("report", value("report") or "failures", REPORTS),
        privacy=_choice("privacy", value("privacy") or "redacted", ("full", "redacted", "content-off")),
        redact=(*(config.getini("masfire_redact") or ()), *given.get("redact", ())),
        control=_choice("control", str(value("control") or "false").lower(), ("true", "false")) == "true",
        contracts=tuple(filter(None, (text.strip() for text in value("contracts") or ()))),
        record=_mode(value("record") or "", str(value("privacy") or "")),
        cassettes=value("cassettes") or "masfire_traces",
        live_tools=_choice("live_tools", str(value("live_tools") or "true").lower(), ("true", "false"))
        == "true",
        draws=_choice("draws", str(value("draws") or "false").lower(), ("true", "false")) == "true",
        budget={
            name.removeprefix("budget_"): _limit(name, value(name), default)
            for name, default in _DEFAULTS.items()
        },
        given=given,
    )


def _mode(text: str, privacy: str) -> str:
    if not text:
        return ""
    if privacy == "content-off":
        raise pytest.UsageError(
            f"{option('record')}={text} cannot work with {option('privacy')}=content-off: a cassette without "
            "content holds no answers. Use redacted or full."
        )
    return _choice("record", text, MODES)


def _limit(name: str, text: str | None, default: float) -> float:
    number = _number(name, text, type(default), "Write a number; 0 means unlimited.")
    if number is not None and number < 0:
        raise pytest.UsageError(f"{option(name)}={text!r} is negative. Write a number; 0 means unlimited.")
    return default if number is None else float(number) if isinstance(default, float) else number


def _number(name: str, text: str | None, convert: Any, hint: str) -> Any:
    if text is None:
        return None
    try:
        return convert(text)
    except ValueError:
        raise pytest.UsageError(f"{option(name)}={text!r} cannot be read. {hint}") from None


def _choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise pytest.UsageError(f"{option(name)}={text!r} is unknown. Choose from: {', '.join(allowed)}.")
    return text
