"""The openai SDK 1.x, 2.x and 3.x: each call style under each treatment, each version installed apart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {
    "1.40.0": ("httpx", ["openai==1.40.0", "httpx==0.27.2"]),
    "1.109.1": ("httpx", ["openai==1.109.1"]),
    "2.54.0": ("httpx", ["openai==2.54.0"]),
    "3.52.0": ("httpx2", ["openai==3.52.0"]),
}
EXPECTED = {
    "record": "echo: ORIGINAL",
    "prompt": "echo: ALTERED",
    "reply": "REPLACED",
    "error": "RateLimitError",
    "budget": "BudgetExceeded",
}

pytestmark = pytest.mark.matrix


def installed(version: str, config: pytest.Config) -> Path:
    """Return a folder that holds this version (made once, kept in pytest's cache)."""
    assert config.cache is not None
    folder = config.cache.mkdir("openai-versions") / version
    done = folder / "installed"
    if not done.exists():
        wanted = VERSIONS[version][1]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--upgrade",
            "--target",
            str(folder),
            *wanted,
        ]
        subprocess.run(command, check=True, timeout=300)
        done.touch()
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_every_style_of_this_version(version: str, pytestconfig: pytest.Config) -> None:
    folder = installed(version, pytestconfig)
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.openai_probe"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["version"] == version
    assert report["library"] == VERSIONS[version][0]
    assert len(report["results"]) == (12 if version == "1.40.0" else 18)
    wrong = {
        (style, treatment): result
        for style, results in report["results"].items()
        for treatment, result in results.items()
        if result != EXPECTED[treatment]
    }
    assert wrong == {}
