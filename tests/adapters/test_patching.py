"""Patches of modules that are imported later, by anyone, in any thread."""

from __future__ import annotations

import importlib
import importlib.resources
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from masfire.adapters.patching import Patch, Patches, Undo
from masfire.errors import IncompatibleVersion


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "a_package_to_patch"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("def answer():\n    return 1\nLOADER = __loader__\n")
    (tmp_path / name / "data.txt").write_text("data")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def doubling(module: ModuleType) -> Undo:
    original = module.answer
    module.answer = lambda: 2 * original()  # type: ignore[attr-defined]
    return lambda: setattr(module, "answer", original)


def test_a_later_import_is_patched_and_put_back(package: str) -> None:
    patches = Patches([Patch(package, doubling)])
    finders = list(sys.meta_path)
    with patches.installed():
        module = importlib.import_module(package)
        assert module.answer() == 2
        with patches.installed():
            assert module.answer() == 2
        assert module.answer() == 2
    assert module.answer() == 1
    assert sys.meta_path == finders


def test_an_earlier_import_is_patched_too(package: str) -> None:
    module = importlib.import_module(package)
    with Patches([Patch(package, doubling)]).installed():
        assert module.answer() == 2
    assert module.answer() == 1


def test_the_module_keeps_its_own_loader(package: str) -> None:
    with Patches([Patch(package, doubling)]).installed():
        module = importlib.import_module(package)
        assert type(module.LOADER).__name__ == "SourceFileLoader"
        assert module.__spec__ is not None
        assert module.__spec__.loader is module.LOADER
        assert importlib.resources.files(package).joinpath("data.txt").read_text() == "data"
        assert "LOADER = __loader__" in inspect.getsource(module)


def test_many_threads_may_import_at_once(package: str) -> None:
    failures: list[BaseException] = []

    def load() -> None:
        try:
            assert importlib.import_module(package).answer() == 2
        except BaseException as error:
            failures.append(error)

    with Patches([Patch(package, doubling)]).installed():
        threads = [threading.Thread(target=load) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_missing_module_stays_missing() -> None:
    with (
        Patches([Patch("no_such_module_anywhere", doubling)]).installed(),
        pytest.raises(ModuleNotFoundError),
    ):
        importlib.import_module("no_such_module_anywhere")


def test_an_incompatible_version_leaves_nothing_behind(package: str) -> None:
    def refuse(module: ModuleType) -> Undo:
        raise IncompatibleVersion("a_package_to_patch.question is gone.")

    module = importlib.import_module(package)
    with (
        pytest.raises(IncompatibleVersion, match="question"),
        Patches([Patch(package, doubling), Patch(package, refuse)]).installed(),
    ):
        pass
    assert module.answer() == 1
