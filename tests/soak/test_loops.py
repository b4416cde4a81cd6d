"""Does one client object serve several event loops and threads at once, and new loops after those have closed?"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import isochat

LOOPS = 4
PLAIN = 4


def test_loops_and_threads_share_a_client(
    backend: str, serving: Any, make_client: Any, ask: Any, held: Any, times: Any, until: Any, capfd: Any, caplog: Any
) -> None:
    client: isochat.Client = make_client(backend)
    complaints: list[Any] = []

    async def one(number: int) -> bool:
        if number % 3 == 0:
            return (await client.achat(ask(number, "slowly"))).text == f"{number} " * 4
        stream = await client.achat(ask(number, "slowly" if number % 3 == 1 else "stalled", 3), stream=True)
        async for chunk in stream:
            if chunk.text and number % 3 == 2:
                break  # left open: the loop's end must close it
        return (await stream.result() if number % 3 == 1 else stream.partial).text in (f"{number} ", f"{number} " * 3)

    async def talk(first: int) -> list[bool]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        return await asyncio.gather(*(one(first + n) for n in range(9)))

    def plain(first: int) -> list[bool]:
        said = []
        for number in range(first, first + 6):
            said.append(client.chat(ask(number)).text == f"{number} " * 4)
            said.append(client.chat(ask(number, "slowly"), stream=True).result().text == f"{number} " * 4)
        return said

    def work(number: int) -> list[bool]:
        said = []
        all_there.wait(60)
        for turn in range(times(2)):  # a new loop each turn: the one before has closed
            first = number * 1000 + turn * 20
            said += plain(first) if number >= LOOPS else asyncio.run(talk(first))
        return said

    client.chat(ask(0))
    before, all_there = held(), threading.Barrier(LOOPS + PLAIN)
    with ThreadPoolExecutor(LOOPS + PLAIN) as pool:
        said = list(pool.map(work, range(LOOPS + PLAIN)))

    assert all(all(answers) for answers in said)
    until(lambda: serving.state()["waiting"] == 0)
    client.close()
    until(lambda: not before.more())
    assert complaints == []
    # Below a warning the loop and the clients tell of their ordinary work.
    assert [record.getMessage() for record in caplog.records if record.levelno > 20] == []
    assert capfd.readouterr() == ("", "")
