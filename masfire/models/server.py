"""The child process that serves the local model on loopback for as long as its parent lives."""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

_POLL_SECONDS = 1.0
"""How often the child looks whether its parent still lives, besides the end of its standard input."""


def parameters(settings: dict[str, Any]) -> Any:
    """Return the xllamacpp parameters for `settings` (weights, slots, slot, threads, prefix_cache)."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.model_alias = {settings["alias"]}
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["slot"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    # A prompt beyond the slot must be an error the caller sees, never a silently shortened prompt.
    params.ctx_shift = False
    params.kv_unified = False
    params.fit_params = False
    # What a slot remembers of earlier prompts changes rounding, and so, rarely, a sampled token.
    params.cache_prompt = settings["prefix_cache"]
    # A request takes over the slot whose last prompt begins alike; a few shared words are no reason to
    # throw another agent's long prompt out.
    params.slot_prompt_similarity = 0.5
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    return params


def serve(settings: dict[str, Any], parent: int) -> int:
    """Serve until standard input ends or `parent` is gone; announce the address on standard output."""
    announce = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the engine writes its log to standard output
    import xllamacpp

    server = xllamacpp.Server(parameters(settings))
    announce.write(json.dumps({"address": server.listening_address}) + "\n")
    announce.close()
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], _POLL_SECONDS)
        if readable and not os.read(0, 1024):
            break
    os._exit(0)  # the engine's own shutdown waits for idle connections


if __name__ == "__main__":
    sys.exit(serve(json.loads(sys.argv[1]), int(sys.argv[2])))
