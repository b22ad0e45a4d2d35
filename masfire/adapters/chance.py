"""Chance and clock as the system's own code sees them: recorded, and given again in a replay.

The names `random`, `uuid`, `time` and `datetime`, and what was imported from these modules, are replaced in
the modules of the system alone; libraries keep the real ones. Not reached: imports inside functions, modules
first imported during the run, `random.Random()` instances, numpy, `secrets` and `os.urandom`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import random
import sys
import sysconfig
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from masfire.recorder import ACTOR, Recorder, current

_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = str(Path(__file__).resolve().parent.parent)
_WIRED = ("langgraph_supervisor", "langgraph_swarm")
"""Libraries whose random ids are sent to models."""

_ROLLED = (
    "random", "uniform", "triangular", "randint", "choice", "randrange", "sample", "shuffle", "choices",
    "normalvariate", "lognormvariate", "expovariate", "vonmisesvariate", "gammavariate", "gauss",
    "betavariate", "paretovariate", "weibullvariate", "binomialvariate", "getrandbits", "randbytes",
)  # fmt: skip
_CLOCKS = {"time": "time", "monotonic": "monotonic", "perf_counter": "monotonic"}
_DICE = "dice"

_installing = threading.Lock()
_users = 0
_undo: list[tuple[types.ModuleType, str, Any, Any]] = []


@contextlib.contextmanager
def recorded(recorder: Recorder) -> Iterator[None]:
    """Record, or repeat, inside this block what the system of `recorder` draws from chance and clock."""
    global _users  # one installation serves all runs of the process
    recorder.records_draws = True
    with _installing:
        _users += 1
        if _users == 1:
            _install()
    try:
        yield
    finally:
        with _installing:
            _users -= 1
            if not _users:
                _uninstall()


class _Dice(random.Random):
    """The dice of one agent: Python's own, seen through the record."""

    def __new__(cls, *_: object) -> _Dice:
        """Return dice; Python's own would take the arguments for a seed."""
        return super().__new__(cls, 0)  # type: ignore[call-arg]  # typeshed knows only object's

    def __init__(self, recorder: Recorder, agent: str) -> None:
        self._recorder, self._agent = recorder, agent
        super().__init__(0)

    def random(self) -> float:
        """Return the next float in 0..1."""
        return float(self._recorder.drawn("random", self._agent, random.random))

    def getrandbits(self, k: int, /) -> int:
        """Return the next `k` random bits."""
        # As text: not every JSON reader keeps an integer of this size.
        return int(self._recorder.drawn("bits", self._agent, lambda: str(random.getrandbits(k))))


def _run() -> tuple[Recorder | None, str]:
    recorder = current()
    actor = ACTOR.get()
    if recorder is None or not recorder.records_draws:
        return None, ""
    return recorder, actor.agent if actor is not None else ""


def _rolled(name: str) -> Callable[..., Any]:
    original = getattr(random, name)

    @functools.wraps(original)
    def roll(*args: Any, **options: Any) -> Any:
        recorder, agent = _run()
        if recorder is None:
            return original(*args, **options)
        dice = recorder.notes.setdefault(_DICE, {})
        if agent not in dice:
            dice[agent] = _Dice(recorder, agent)
        return getattr(dice[agent], name)(*args, **options)

    return roll


def _read(name: str, source: str) -> Callable[[], float]:
    original = getattr(time, name)

    @functools.wraps(original)
    def read() -> float:
        recorder, agent = _run()
        return float(original() if recorder is None else recorder.drawn(source, agent, original))

    return read


@functools.wraps(uuid.uuid4)
def _uuid4() -> uuid.UUID:
    recorder, agent = _run()
    if recorder is None:
        return uuid.uuid4()
    return uuid.UUID(recorder.drawn("uuid", agent, lambda: uuid.uuid4().hex))


_TIME = _read("time", "time")


class _AnyDatetime(type):
    """Lets real dates count as instances of their stand-in."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime.datetime)


class _Datetime(datetime.datetime, metaclass=_AnyDatetime):
    """`datetime.datetime` whose present comes from the record; what it makes are real datetimes."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Return a real datetime."""
        return datetime.datetime(*args, **options)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """Return the present, of this run or of the recorded one."""
        return datetime.datetime.fromtimestamp(_TIME(), tz)

    @classmethod
    def today(cls) -> Any:
        """Return the present in local time."""
        return datetime.datetime.fromtimestamp(_TIME())

    @classmethod
    def utcnow(cls) -> Any:
        """Return the present in UTC without a zone."""
        return datetime.datetime.fromtimestamp(_TIME(), datetime.UTC).replace(tzinfo=None)


def _stand_ins() -> dict[int, Any]:
    """Return what stands in for what, by the identity of the original."""
    rolled = {name: _rolled(name) for name in _ROLLED if hasattr(random, name)}
    clocks = {name: _read(name, source) for name, source in _CLOCKS.items()}
    made: dict[int, Any] = {id(getattr(random, name)): roll for name, roll in rolled.items()}
    made |= {id(getattr(time, name)): read for name, read in clocks.items()}
    made |= {id(uuid.uuid4): _uuid4, id(datetime.datetime): _Datetime}
    changed: tuple[tuple[types.ModuleType, dict[str, Any]], ...] = (
        (random, rolled),
        (time, clocks),
        (uuid, {"uuid4": _uuid4}),
        (datetime, {"datetime": _Datetime}),
    )
    for module, changes in changed:
        proxy = types.ModuleType(module.__name__, module.__doc__)
        proxy.__dict__.update(module.__dict__)
        proxy.__dict__.update(changes)
        made[id(module)] = proxy
    return made


def _install() -> None:
    made = _stand_ins()
    for module in list(sys.modules.values()):
        if not isinstance(module, types.ModuleType) or not _is_own(module):
            continue
        for name, value in list(vars(module).items()):
            if name.startswith("__") or id(value) not in made:
                continue
            setattr(module, name, made[id(value)])
            _undo.append((module, name, value, made[id(value)]))


def _uninstall() -> None:
    while _undo:
        module, name, original, stand_in = _undo.pop()
        if vars(module).get(name) is stand_in:
            setattr(module, name, original)


def _is_own(module: types.ModuleType) -> bool:
    """Return whether a module belongs to the system under test: no library, not masfire."""
    if module.__name__.partition(".")[0] in _WIRED:
        return True
    file = getattr(module, "__file__", None)
    return _is_own_file(file) if file else module.__name__ == "__main__"


@functools.lru_cache(maxsize=8192)
def _is_own_file(file: str) -> bool:
    path = str(Path(file).resolve())
    return not path.startswith((*_LIBRARIES, _OURS)) and "site-packages" not in path
