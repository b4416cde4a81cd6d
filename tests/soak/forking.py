"""A program that forks between calls and streams: parent and child both go on, on the same client object.

Usage: forking.py URL BACKEND. It prints what went wrong, else nothing; a child's exit code says the same.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback

import isochat


def prompt(number: int, mode: str = "slowly", count: int = 3) -> str:
    return f"<<{number}|{mode}|{count}>>"


def check(client: isochat.Client, first: int) -> None:
    """Calls and streams of one process, sync, async and in threads."""
    for number in range(first, first + 2):
        assert client.chat(prompt(number)).text == f"{number} " * 3
        assert client.chat(prompt(number), stream=True).result().text == f"{number} " * 3

    async def talk() -> None:
        answers = await asyncio.gather(*(client.achat(prompt(first + n)) for n in range(4)))
        assert [answer.text for answer in answers] == [f"{first + n} " * 3 for n in range(4)]
        streams = await asyncio.gather(*(client.achat(prompt(first + n), stream=True) for n in range(4)))
        assert [(await stream.result()).text for stream in streams] == [f"{first + n} " * 3 for n in range(4)]

    asyncio.run(talk())


def main() -> None:
    client = isochat.Client(sys.argv[2], host=sys.argv[1], token="t", endpoint="any", max_retries=0, max_connections=8)
    check(client, 0)
    over = threading.Event()
    # The fork finds locks held and connections in use. Not with MLflow: it imports on every call, and Python's own
    # import locks do not survive a fork beside a thread that holds one.
    mlflow = sys.argv[2] == "mlflow"
    other = isochat.Client("rest", host=sys.argv[1], token="t", endpoint="any") if mlflow else client
    beside = threading.Thread(target=lambda: [check(other, 500) for _ in iter(over.is_set, True)])
    beside.start()
    try:
        fork(client)
    finally:
        over.set()
        beside.join()
    other.close()
    client.close()


def fork(client: isochat.Client) -> None:
    """Go on in parent and children, while a stream of the parent is half read."""
    half_read = client.chat(prompt(7, "slowly", 20), stream=True)
    first = next(text for text in (chunk.text for chunk in half_read) if text)
    children = []
    for number in range(1, 4):
        child = os.fork()
        if child == 0:
            try:
                del half_read  # the parent's stream must not end by it
                check(client, number * 1000)
                client.close()
            except BaseException:  # noqa: BLE001 the parent reports it
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
        check(client, number * 1000 + 500)
    assert first + "".join(chunk.text for chunk in half_read) == "7 " * 20
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


if __name__ == "__main__":
    main()
