"""How many calls and streams does one thread carry at once? A hundred without another thread, two thousand streams."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import Iterator
from typing import Any

import pytest

CALLS = 100
STREAMS = 2000


def test_a_hundred_calls_in_flight_start_no_thread(
    native_backend: str, serving: Any, make_client: Any, ask: Any, until: Any
) -> None:
    client = make_client(native_backend)

    async def call_all() -> None:
        async with client:
            await client.achat(ask(0))  # imports, and the look of the platform
            before = set(threading.enumerate())
            calls = [asyncio.create_task(client.achat(ask(n, "silent"))) for n in range(CALLS)]
            streams = [asyncio.create_task(client.achat(ask(n, "stalled"), stream=True)) for n in range(CALLS)]
            opened = await asyncio.gather(*streams)
            # Seen from the loop: all of them are on their way, and no thread has been started.
            while await asyncio.to_thread(lambda: serving.state()["waiting"]) < 2 * CALLS:
                pass
            started = {thread.name for thread in set(threading.enumerate()) - before}
            assert {name for name in started if not name.startswith("asyncio_")} == set()  # to_thread's own
            for call in calls:
                call.cancel()
            for stream in opened:
                await stream.aclose()
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(call_all())
    until(lambda: serving.state()["waiting"] == 0)
    assert serving.state()["gone"] == 2 * CALLS


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STREAMS + 1000
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_two_thousand_streams_are_open_at_once(serving: Any, make_client: Any, ask: Any, held: Any, until: Any) -> None:
    client = make_client("rest", max_connections=STREAMS)
    rounds = 5

    async def read_all() -> None:
        async with client:
            # By hundreds, as the queue of the listening socket is bounded by the system.
            streams: list[Any] = []
            for first in range(0, STREAMS, 100):
                asked = (client.achat(ask(n, "rounds", rounds), stream=True) for n in range(first, first + 100))
                streams += await asyncio.gather(*asked)
            state = await asyncio.to_thread(serving.state)
            assert state["in_rounds"] == STREAMS
            assert state["open"] >= STREAMS
            for number in range(rounds):
                chunks = await asyncio.gather(*(anext(stream) for stream in streams))
                assert [chunk.text for chunk in chunks] == [f"{n} " for n in range(STREAMS)], f"round {number}"
                await asyncio.to_thread(serving.open_round)
            for _ in range(2):  # finish reason and [DONE], then the end
                await asyncio.to_thread(serving.open_round)
            results = await asyncio.gather(*(stream.result() for stream in streams))
            assert [result.text for result in results] == [f"{n} " * rounds for n in range(STREAMS)]
            assert {(result.finish_reason, result.id == f"c-{n}") for n, result in enumerate(results)} == {
                ("stop", True)
            }

    before = held()
    asyncio.run(read_all())
    until(lambda: not before.more())
    until(lambda: serving.state()["open"] == 1)  # that of this question
