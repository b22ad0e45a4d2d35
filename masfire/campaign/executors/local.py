"""Runs on this machine: a pool of worker processes, each killed when a run overstays its time."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from masfire.campaign.orders import Answer, Broken, Done, Order, Ready, Setting
from masfire.campaign.results import RunResult
from masfire.errors import MasfireError
from masfire.models.cache import fold

START_PATIENCE = 180.0
"""Seconds a worker may take to import the systems."""
_COMMAND = [sys.executable, "-m", "masfire.campaign.worker"]
_TAIL = 2_000
_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class WorkerFailed(MasfireError):
    """No run can be executed: a system cannot be imported, a trace cannot be written."""


class Lost(Struct, frozen=True):
    """A run whose worker did not come back: `status` is `timeout` or `error`, `error` says why."""

    status: str
    error: str
    seconds: float


class LocalPool:
    """Executes orders in `workers` processes at a time.

    A run that takes longer than `limit` seconds (None: no limit) is killed with its worker. Workers
    write what systems print to the file `log`, stay for the next `run`, and end with `close`, or by
    themselves when this process dies. Each starts with one of the `environments`, the least used.
    """

    def __init__(
        self,
        setting: Setting,
        *,
        workers: int,
        limit: float | None,
        log: Path,
        environments: Sequence[Mapping[str, str]],
        fresh: bool = False,
    ) -> None:
        self._setting, self._workers, self._limit, self._fresh = setting, workers, limit, fresh
        self._log, self._environments = log, [dict(one) for one in environments]
        self._live: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False

    def run(self, orders: Sequence[Order]) -> Generator[tuple[Order, RunResult | Lost]]:
        """Execute the orders; yield each with what it came to, as they finish.

        Raise WorkerFailed when the workers cannot work. Closing the iterator kills what is running.
        """
        todo: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[Order, RunResult | Lost] | MasfireError] = queue.SimpleQueue()
        crew = min(self._workers, len(orders))
        for order in (*orders, *[None] * crew):
            todo.put(order)
        threads = [threading.Thread(target=self._serve, args=(todo, done), daemon=True) for _ in range(crew)]
        for thread in threads:
            thread.start()
        try:
            for _ in orders:
                item = done.get()
                if isinstance(item, MasfireError):
                    raise item
                yield item
        except BaseException:
            self._stop()
            raise
        finally:
            for thread in threads:
                thread.join()

    def close(self) -> None:
        """End every worker; no further run can be executed."""
        self._stop()
        for worker in list(self._live):
            self._end(worker)
        if self._setting.cache:  # killed workers closed nothing: what they wrote is still in its log
            fold(self._setting.cache)

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stop(self) -> None:
        with self._lock:
            self._closed = True
            for worker in self._live:
                worker.kill()

    def _serve(
        self,
        todo: queue.SimpleQueue[Order | None],
        done: queue.SimpleQueue[tuple[Order, RunResult | Lost] | MasfireError],
    ) -> None:
        worker: _Worker | None = None
        try:
            while not self._closed and (order := todo.get()) is not None:
                worker = worker or self._ready()
                came = worker.execute(order, self._limit)
                if isinstance(came, Lost) or self._fresh:
                    self._end(worker)
                    worker = None
                if self._closed:
                    return
                done.put((order, came))
        except MasfireError as error:
            done.put(error)
        except OSError as error:
            done.put(WorkerFailed(f"A worker process cannot be started: {error}."))
        except Exception as error:  # whatever it is, the campaign must not wait for this thread forever
            done.put(WorkerFailed(f"A run cannot be handed to its worker: {type(error).__name__}: {error}."))
        finally:
            if worker is not None:
                self._idle.append(worker)

    def _ready(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise WorkerFailed("The campaign is over.")
            if self._idle:
                return self._idle.pop()
            used = [worker.environment for worker in self._live]
            environment = min(self._environments, key=used.count)
            worker = _Worker(self._setting, self._log, environment)
            self._live.add(worker)
        try:
            worker.prepare()
        except MasfireError:
            self._end(worker)
            raise
        return worker

    def _end(self, worker: _Worker) -> None:
        with self._lock:
            self._live.discard(worker)
        worker.kill()
        worker.release()


class _Worker:
    """One worker process and the pipe to it."""

    def __init__(self, setting: Setting, log: Path, environment: Mapping[str, str]) -> None:
        self._setting, self._log, self.environment = setting, log, environment
        self._buffer = b""
        log.touch(mode=0o600)  # systems may print anything
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, with our own interpreter
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the campaign, which then ends its workers
            )

    def prepare(self) -> None:
        """Hand over the setting; raise WorkerFailed unless the worker is ready in time."""
        self._say(self._setting)
        answer = self._hear(time.monotonic() + START_PATIENCE)
        if isinstance(answer, Ready):
            return
        if isinstance(answer, Broken):
            raise WorkerFailed(answer.error)
        raise WorkerFailed(
            f"A worker process did not become ready ({self._fate()}).",
            hint=f"{self._log} ends: {_tail(self._log)}",
        )

    def execute(self, order: Order, limit: float | None) -> RunResult | Lost:
        """Return what the run came to; a worker that does not come back must not be used again."""
        started = time.monotonic()
        self._say(order)
        answer = self._hear(None if limit is None else started + limit)
        if isinstance(answer, Done):
            return answer.result
        if isinstance(answer, Broken):
            raise WorkerFailed(answer.error)
        seconds = time.monotonic() - started
        if limit is not None and seconds >= limit:
            return Lost("timeout", f"killed after {limit:g} seconds", seconds)
        return Lost("error", f"the worker process died ({self._fate()})", seconds)

    def kill(self) -> None:
        """End the process at once, and whatever it started in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.poll() is None:
                os.killpg(self._process.pid, 9)

    def release(self) -> None:
        """Wait for the end of the process and close the pipes."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _say(self, item: Setting | Order) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):  # a dead worker is noticed when it does not answer
                pipe.write(msgspec.json.encode(item) + b"\n")
                pipe.flush()

    def _hear(self, deadline: float | None) -> Answer | None:
        """Return the next answer, or None when the time is up or the worker is gone."""
        pipe = self._process.stdout
        if pipe is None:
            return None
        poll = select.poll()
        poll.register(pipe, select.POLLIN | select.POLLHUP)
        while b"\n" not in self._buffer:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if not poll.poll(left):
                return None
            block = os.read(pipe.fileno(), 1 << 16)
            if not block:
                return None
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\n")
        return _decoder.decode(line)

    def _fate(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "it is still running"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read().decode("utf-8", "replace").strip() or "(nothing)"
