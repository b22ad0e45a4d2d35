"""LangGraph 1.0, 1.1 and 1.2: graphs, faults and agents, each version installed apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("langgraph-prebuilt", "langgraph-checkpoint", "langgraph-sdk", "langchain")
VERSIONS = {  # of LangGraph, and of its parts some that it is released for
    "1.0.0": ("1.0.0", "2.1.2", "0.2.9", "1.0.0"),
    "1.0.10": ("1.0.8", "3.0.1", "0.3.9", "1.0.8"),
    "1.1.10": ("1.0.13", "4.0.3", "0.3.13", "1.2.18"),
    "1.2.22": ("1.1.2", "4.3.2", "0.4.14", "1.4.7"),
}
WORKER = [
    ["user", "message"], ["planner", "message"],
    ["worker", "model_call"], ["worker", "model_reply"], ["worker", "tool_call"], ["worker", "tool_result"],
    ["worker", "model_call"], ["worker", "model_reply"], ["worker", "message"], ["ask", "message"],
]  # fmt: skip
ALONE = ["user", "calculator", "calculator", "calculator"]

pytestmark = pytest.mark.matrix


def installed(version: str, config: pytest.Config) -> Path:
    """Return a folder that holds this version and what is released with it (made once, kept)."""
    assert config.cache is not None
    folder = config.cache.mkdir("langgraph-versions") / version
    done = folder / "installed"
    if not done.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        parts = zip(PARTS, VERSIONS[version], strict=True)
        wanted = [f"langgraph=={version}", *(f"{name}=={number}" for name, number in parts)]
        subprocess.run([*command, "--target", str(folder), *wanted], check=True, timeout=300)
        done.touch()
    return folder


def probed(folder: Path) -> dict[str, Any]:
    """Return what the probe reports when it runs on the version in this folder."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.langgraph_probe"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_of_this_version(version: str, pytestconfig: pytest.Config) -> None:
    folder = installed(version, pytestconfig)
    report = probed(folder)
    assert report["version"] == version
    assert [file for file in report["files"] if not file.startswith(str(folder))] == []
    assert report["wrong"] == {}
    assert report["worker"] == [WORKER, WORKER]
    assert report["alone"] == [ALONE, ALONE]
    assert report["functional"] == [
        ["user", ["workflow"]], ["draft", ["workflow"]], ["workflow", ["user"]],
    ]  # fmt: skip
