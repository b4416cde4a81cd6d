"""Does one client serve two hundred threads, each with calls and streams of its own?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

THREADS = 200


@pytest.mark.parametrize("bound", [None, 16])
@pytest.mark.parametrize("backend", ["rest", "databricks-sdk"])
def test_two_hundred_threads_share_a_client(
    backend: str, bound: int | None, serving: Any, make_client: Any, ask: Any, held: Any, times: Any, until: Any
) -> None:
    client = make_client(backend, max_connections=bound)
    assert client.chat(ask(0)).text == "0 " * 4
    before, all_there = held(), threading.Barrier(THREADS)

    def talk(number: int) -> list[str]:
        all_there.wait(60)
        said = []
        for call in range(times(2)):
            mine = number * 1000 + call
            said.append(client.chat(ask(mine, "slowly" if call % 2 else "answer")).text == f"{mine} " * 4)
            stream = client.chat(ask(mine, "slowly", 3), stream=True)
            said.append([chunk.text for chunk in stream if chunk.text] == [f"{mine} "] * 3)
            said.append(stream.result().id == f"c-{mine}")
        with client.chat(ask(number, "stalled", 1), stream=True) as stream:  # left early
            said.append(next(stream).text == f"{number} ")
        return said

    with ThreadPoolExecutor(THREADS) as pool:
        said = list(pool.map(talk, range(THREADS)))

    assert all(all(answers) for answers in said)
    until(lambda: serving.state()["waiting"] == 0)
    client.close()
    until(lambda: not before.more())
