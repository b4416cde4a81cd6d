"""By how much is a deadline overrun? Every stall, drip, ping, full pool and Retry-After of the table, in real time.

Each run is one call of one backend in one mode against a server that never lets it end. What is reported is the time
from the call to its error, less the deadline; beside it how late the machine itself is, which sleeps as long in another
thread at the same time.

    python bench/deadlines.py --runs 500 --at-once 4
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import isochat
from isochat import plugins
from isochat_conformance.fault_bench import TOKEN, FaultBench
from isochat_conformance.fault_page import BACKENDS
from isochat_conformance.fault_row import Fault
from isochat_conformance.fault_table import load_themes
from isochat_conformance.modes import Mode, is_async, is_streamed

DEADLINE = 0.5
ALLOWED = 0.050


class Run(NamedTuple):
    backend: str
    fault: Fault
    mode: Mode


class Measured(NamedTuple):
    run: Run
    overrun: float
    machine: float
    said: str


def rows() -> list[Fault]:
    """Those whose server never lets the call end: but for the deadline, it would wait."""
    themes = {theme.theme: theme.rows for theme in load_themes()}
    waiting = [row for row in themes["timing"] if row.expect.phase not in (None, "idle", "send")]
    waiting += [row for row in themes["tls"] if row.expect.phase is not None]
    waiting += [row for row in themes["retry_after"] if row.expect.error == "RateLimitError"]
    return [row for row in waiting if not row.client.environ]


def one(bench: FaultBench, run: Run) -> Measured:
    api = plugins.load_backend(run.backend).capabilities.api
    settings = run.fault.client
    deadline = DEADLINE
    with bench.servers(run.fault, api, "stream" if is_streamed(run.mode) else "call") as (server, *_):
        client = isochat.Client(
            run.backend,
            endpoint="faults",
            host=server.url,
            token=TOKEN,
            deadline=deadline,
            timeout=60,
            max_retries=settings.max_retries,
            max_connections=settings.max_connections,
            retry_after_execution=settings.retry_after_execution,
            ca_bundle=bench.authority.bundle if server.url.startswith("https") else None,
            trust_env=False,
        )
        late: list[float] = []
        sleeper = threading.Thread(target=lambda: late.append(_slept(deadline)))
        if is_async(run.mode):
            overrun, said = asyncio.run(_on_loop(client, run, sleeper))
        else:
            overrun, said = _in_thread(client, run, sleeper)
        sleeper.join()
    return Measured(run, overrun - deadline, late[0], said)


def _slept(seconds: float) -> float:
    begun = time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - begun - seconds


def _in_thread(client: Any, run: Run, sleeper: threading.Thread) -> tuple[float, str]:
    with client:
        held = client.chat("Hi", stream=True, deadline=60) if run.fault.client.before == "open" else None
        sleeper.start()
        begun = time.monotonic()
        try:
            answer = client.chat("Hi", stream=is_streamed(run.mode))
            if is_streamed(run.mode):
                answer.result()
            said = "answer"
        except isochat.ChatError as error:
            said = type(error).__name__
        seconds = time.monotonic() - begun
        if held is not None:
            held.close()
    return seconds, said


async def _on_loop(client: Any, run: Run, sleeper: threading.Thread) -> tuple[float, str]:
    async with client:
        held = await client.achat("Hi", stream=True, deadline=60) if run.fault.client.before == "open" else None
        sleeper.start()
        begun = time.monotonic()
        try:
            answer = await client.achat("Hi", stream=is_streamed(run.mode))
            if is_streamed(run.mode):
                await answer.result()
            said = "answer"
        except isochat.ChatError as error:
            said = type(error).__name__
        seconds = time.monotonic() - begun
        if held is not None:
            await held.aclose()
    return seconds, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--row", action="append", help="only this row")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    chosen = [row for row in rows() if not options.row or row.id in options.row]
    combinations = [
        Run(backend, fault, mode)
        for fault in chosen
        for backend in BACKENDS
        for mode in fault.modes
        if plugins.load_backend(backend).capabilities.api not in fault.not_applicable
    ]
    # Spread over rows, backends and modes, whatever the number.
    step = next(step for step in range(7, 100) if len(combinations) % step and step % 2)
    order = [combinations[(step * place) % len(combinations)] for place in range(len(combinations))]
    runs = list(itertools.islice(itertools.cycle(order), options.runs))
    for backend in BACKENDS:  # imports
        isochat.Client(backend, endpoint="e", host="http://127.0.0.1:9", token=TOKEN, trust_env=False).close()
    with FaultBench() as bench:
        bench.authority  # noqa: B018 the certificates are made before any clock runs
        for backend in BACKENDS:
            for mode in chosen[0].modes:
                one(bench, Run(backend, chosen[0], mode))
        with ThreadPoolExecutor(options.at_once) as pool:
            measured = list(pool.map(lambda run: one(bench, run), runs))
    late = [each for each in measured if each.overrun > ALLOWED]
    ranked = sorted(each.overrun for each in measured)
    print(f"{len(measured)} runs over {len(chosen)} rows, {len(combinations)} combinations, {options.at_once} at once")
    print(f"in time (at most {1000 * ALLOWED:.0f} ms over): {len(measured) - len(late)} of {len(measured)}")
    print(f"overrun: median {1000 * ranked[len(ranked) // 2]:.1f} ms, most {1000 * ranked[-1]:.1f} ms")
    machine = [each.machine for each in measured]
    print(f"the machine itself: {sum(m > ALLOWED for m in machine)} sleeps late, most {1000 * max(machine):.1f} ms")
    for each in sorted(late, key=lambda each: -each.overrun)[:20]:
        where = f"{each.run.fault.id:32} {each.run.backend:18} {each.run.mode:13}"
        print(f"  {where} {1000 * each.overrun:7.1f} ms over, machine {1000 * each.machine:6.1f} ms, {each.said}")
    by_answer = {each.said for each in measured}
    print(f"outcomes: {', '.join(sorted(by_answer))}")


if __name__ == "__main__":
    main()
