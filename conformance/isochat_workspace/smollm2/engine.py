"""How does llama.cpp run apart from the host program? This file is a program of its own, run by `engine_process.py`.

    python -I engine.py FOLDER WEIGHTS

It prints one line of JSON, `{"url": ..., "key": ...}`, when requests are answered, and ends when its standard
input does: with the parent, however that died (a child the parent has forked may keep that input open: so it
also looks whether it has been handed to another parent). It imports nothing of isochat, so it starts fast, and an
engine that crashes takes nobody with it.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
import time

CONTEXT_TOKENS = 2048


def main(folder: str, weights: str) -> None:
    """Serve the weights on a free port of loopback until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it closes our input in good order
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path.insert(0, folder)
    import xllamacpp  # type: ignore[import-untyped,import-not-found,unused-ignore]

    key = secrets.token_hex(16)
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = CONTEXT_TOKENS
    # One slot and no memory of earlier prompts: each answer is computed alone, from nothing. With batching
    # or a warm cache the sums are made in another order, and temperature 0 gives other words now and then.
    params.n_parallel = 1
    params.cont_batching = False
    params.cache_prompt = False
    # A conversation that ends with the assistant is not to be taken for the beginning of the answer.
    params.prefill_assistant = False
    params.cache_ram_mib = 0
    # Between two batches it is looked whether the client has left: a long prompt takes many batches, and no longer.
    params.n_batch = params.n_ubatch = 64
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    # Threads that spin while they wait make a busy machine many times slower.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.ui = False
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(json.dumps({"url": server.listening_address, "key": key}), flush=True)
    sys.stdin.buffer.read()
    os._exit(0)  # the engine's own threads are of no use any more, and joining them takes time


def _end_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def _threads() -> int:
    """Processors this process may use, four at most: a model this small gains nothing from more."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)


if __name__ == "__main__":
    main(*sys.argv[1:3])
