"""Patches that are lazy, reversible and counted: nothing is imported for them, nothing stays behind."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import msgspec

Undo = Callable[[], None]


class Patch(msgspec.Struct, frozen=True):
    """Something to change in `module` (dotted name) once that module is imported.

    `apply` gets the module, changes class or module attributes and returns the function that puts
    everything back. It must raise IncompatibleVersion, naming the attribute, when a private name is
    gone or has another signature.
    """

    module: str
    apply: Callable[[ModuleType], Undo]


class _Finder(importlib.abc.MetaPathFinder):
    """Notices when a watched module is imported, and patches it right after it ran."""

    def __init__(self, watched: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self.watched = watched

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.watched:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self.watched[fullname])
                return spec  # type: ignore[no-any-return]
        return None


class _Loader(importlib.abc.Loader):
    """Runs the module with its own loader, then calls what waited for it."""

    def __init__(self, inner: importlib.abc.Loader, then: list[Callable[[ModuleType], None]]) -> None:
        self.inner, self.then = inner, then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its real loader: resources, source lines and reloading depend on it.
        module.__loader__ = self.inner
        if module.__spec__ is not None:
            module.__spec__.loader = self.inner
        self.inner.exec_module(module)
        for call in self.then:
            call(module)


class Patches:
    """Guards which patches are in force; nested users share one installation."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = tuple(patches)
        self._undo: list[Undo] = []
        self._users = 0
        self._finder: _Finder | None = None
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Keep the patches in force inside this block; the last one out puts everything back."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def acquire(self) -> None:
        """Install the patches unless they are (modules not yet imported are watched for)."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                watched: dict[str, list[Callable[[ModuleType], None]]] = {}
                for patch in self._patches:
                    module = sys.modules.get(patch.module)
                    if module is not None and not _still_loading(module):
                        self._undo.append(patch.apply(module))
                    else:
                        watched.setdefault(patch.module, []).append(self._later(patch))
                if watched:
                    self._finder = _Finder(watched)
                    sys.meta_path.insert(0, self._finder)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give up one use; the last one restores every attribute."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            if self._finder is not None and self._finder in sys.meta_path:
                sys.meta_path.remove(self._finder)
            self._finder = None
            while self._undo:
                self._undo.pop()()

    def _later(self, patch: Patch) -> Callable[[ModuleType], None]:
        def apply(module: ModuleType) -> None:
            with self._lock:
                if self._users:
                    self._undo.append(patch.apply(module))

        return apply


def _still_loading(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))
