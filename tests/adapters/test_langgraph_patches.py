"""What the LangGraph adapter patches is put back, and a private name that changed is reported by name."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from masfire.adapters import langgraph as adapter
from masfire.errors import IncompatibleVersion
from tests.support.graphs import PATCHES, linear, recording, said, task


def test_patches_leave_nothing_behind() -> None:
    from langgraph.pregel import _loop, _runner

    names = [(_runner, "run_with_retry"), (_runner, "arun_with_retry")]
    names += [(_loop.PregelLoop, "tick"), (_loop.PregelLoop, "after_tick")]
    before = [getattr(owner, name) for owner, name in names]
    with PATCHES.installed():
        assert all(getattr(owner, name) is not old for (owner, name), old in zip(names, before, strict=True))
        assert said(linear(False).compile().invoke(task()))[-1] == "C-says"  # no run: nothing happens
    assert [getattr(owner, name) for owner, name in names] == before


def test_a_changed_private_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.pregel import _runner

    monkeypatch.setattr(_runner, "run_with_retry", lambda task, policies: None)
    with pytest.raises(IncompatibleVersion, match=r"run_with_retry now takes \(task, policies\)"):
        adapter.patch_runner(_runner)
    monkeypatch.delattr(_runner, "run_with_retry")
    with pytest.raises(IncompatibleVersion, match="run_with_retry is gone"):
        adapter.patch_runner(_runner)


@pytest.mark.parametrize(
    ("name", "replacement", "words"),
    [
        ("tick", lambda self, more: False, ""),
        ("tick", None, r"PregelLoop\.tick is gone"),
        ("after_tick", None, r"PregelLoop\.after_tick is gone"),
        ("after_tick", lambda loop: None, r"after_tick now takes \(loop\), not \(self\)"),
    ],
)
def test_a_changed_loop_is_reported(name: str, replacement: Any, words: str) -> None:
    class PregelLoop:
        def tick(self) -> bool:
            return False

        def after_tick(self) -> None:
            return None

    setattr(PregelLoop, name, replacement)
    fake = ModuleType("langgraph.pregel._loop")
    fake.PregelLoop = PregelLoop  # type: ignore[attr-defined]
    if words:
        with pytest.raises(IncompatibleVersion, match=words):
            adapter.patch_loop(fake)
        assert getattr(PregelLoop, name) is replacement
    else:
        adapter.patch_loop(fake)()
        assert PregelLoop.tick is replacement


def test_a_changed_constant_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph._internal import _constants
    from langgraph.pregel import _loop

    monkeypatch.setattr(_constants, "TASKS", "__other")
    with pytest.raises(IncompatibleVersion, match="constant TASKS is '__other', not '__pregel_tasks'"):
        adapter.patch_loop(_loop)


def test_a_run_on_a_changed_version_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from langgraph.pregel import _runner

    monkeypatch.delattr(_runner, "arun_with_retry")
    with pytest.raises(IncompatibleVersion, match="arun_with_retry is gone"), recording():
        raise AssertionError("the run was started")
    assert "masfire" not in _runner.run_with_retry.__module__


def test_the_adapter_imports_no_framework() -> None:
    code = (
        "import sys, masfire.adapters.langgraph, masfire.adapters.langchain;"
        "print([m for m in sys.modules if m.split('.')[0] in ('langgraph', 'langchain_core', 'langchain')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
