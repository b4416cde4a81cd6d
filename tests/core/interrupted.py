"""A program that is interrupted in the middle of calls and streams. Usage: interrupted.py URL BACKEND.

It says on stdout where it is, waits for a line on stdin after each interrupt, and then calls again.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable

import isochat


def say(*words: object) -> None:
    print(*words, flush=True)


def call(client: isochat.Client) -> None:
    say("asking")
    client.chat("stall")


def stream(client: isochat.Client) -> None:
    for _ in client.chat("stall", stream=True):
        say("asking")


beating: list[asyncio.Task[None]] = []


async def beat() -> None:
    # A signal that comes just as the loop goes to sleep is handled when it wakes: asyncio.run() waits for no signal.
    while True:
        await asyncio.sleep(0.05)


def acall(client: isochat.Client) -> None:
    async def talk() -> None:
        beating.append(asyncio.create_task(beat()))
        say("asking")
        await client.achat("stall")

    asyncio.run(talk())


def astream(client: isochat.Client) -> None:
    async def talk() -> None:
        beating.append(asyncio.create_task(beat()))
        async for _ in await client.achat("stall", stream=True):
            say("asking")

    asyncio.run(talk())


WAYS: tuple[Callable[[isochat.Client], None], ...] = (call, stream, acall, astream)


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which who starts it in the background has it ignore
    with isochat.Client(
        sys.argv[2], host=sys.argv[1], token="t", endpoint="any", max_retries=0, max_connections=1
    ) as client:
        for way in WAYS:
            try:
                way(client)
            except KeyboardInterrupt as interrupt:
                seen: BaseException | None = interrupt
                while seen is not None:  # nothing of isochat's or a client's around it
                    if not isinstance(seen, KeyboardInterrupt | asyncio.CancelledError):
                        say("wrapped:", repr(seen))
                    seen = seen.__cause__
                del interrupt, seen
                say("interrupted", way.__name__)
            sys.stdin.readline()
            say(client.chat("answer", deadline=30).text)
            say(asyncio.run(client.achat("answer", deadline=30)).text)


if __name__ == "__main__":
    main()
