"""A program that ends while a stream is open, or runs out of descriptors. Its exit code is 7 unless something is wrong.

Usage: leaving.py WHAT BACKEND URL. WHAT is one of the functions below.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
import threading
from typing import Any

import isochat

CODE = 7


def made(backend: str, url: str, **arguments: Any) -> isochat.Client:
    return isochat.Client(backend, host=url, token="t", endpoint="any", max_retries=0, deadline=30, **arguments)


def in_a_loop_of_chunks(backend: str, url: str) -> None:
    for chunk in made(backend, url).chat("<<1|stalled|1>>", stream=True):
        if chunk.text:
            sys.exit(CODE)


def held_by_a_module(backend: str, url: str) -> None:
    global held
    held = made(backend, url).chat("<<1|stalled|1>>", stream=True)
    next(held)
    sys.exit(CODE)


def in_another_thread(backend: str, url: str) -> None:
    begun = threading.Event()

    def read() -> None:
        with contextlib.suppress(isochat.ChatError):
            for _ in made(backend, url).chat("<<1|stalled|1>>", stream=True):
                begun.set()

    threading.Thread(target=read, daemon=True).start()
    begun.wait()
    sys.exit(CODE)


def in_a_call_of_another_thread(backend: str, url: str) -> None:
    client = made(backend, url)
    client.chat("<<1|answer|1>>")
    threading.Thread(target=lambda: client.chat("<<2|silent|1>>"), daemon=True).start()
    sys.exit(CODE)


def on_a_loop(backend: str, url: str) -> None:
    async def read() -> None:
        async for chunk in await made(backend, url).achat("<<1|stalled|1>>", stream=True):
            if chunk.text:
                sys.exit(CODE)

    asyncio.run(read())


def on_a_loop_in_a_task(backend: str, url: str) -> None:
    async def read(begun: asyncio.Event) -> None:
        async for _ in await made(backend, url).achat("<<1|stalled|1>>", stream=True):
            begun.set()

    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(read(begun))
        await begun.wait()
        assert not task.done()
        sys.exit(CODE)

    asyncio.run(main())


def behind_a_loop(backend: str, url: str) -> None:
    async def read() -> Any:
        stream = await made(backend, url).achat("<<1|stalled|1>>", stream=True)
        await anext(stream)
        return stream

    global held
    held = asyncio.run(read())
    sys.exit(CODE)


def without_descriptors(backend: str, url: str) -> None:
    """None is left: each call is a ConnectError. With some again it is answered."""
    client = made(backend, url)
    assert client.chat("<<1|answer|1>>").text == "1 "  # imports are done
    asyncio.run(client.achat("<<1|answer|1>>"))
    client.close()
    client = made(backend, url)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    async def talk(stream: bool) -> str:
        error: Exception | None = None
        with exhausted():
            try:
                await client.achat("<<3|answer|1>>", stream=stream)
            except isochat.ChatError as refused:
                error = refused
        check_unconnected(error)
        answer = await client.achat("<<4|answer|1>>", stream=stream)
        return (await answer.result()).text if stream else answer.text

    for stream in (False, True):
        error: Exception | None = None
        with exhausted():
            try:
                client.chat("<<3|answer|1>>", stream=stream)
            except isochat.ChatError as refused:
                error = refused
        check_unconnected(error)
        answer = client.chat("<<5|answer|1>>", stream=stream)
        assert (answer.result() if stream else answer).text == "5 "
        client.close()
        client = made(backend, url)
        assert asyncio.run(talk(stream)) == "4 "
        client.close()
        client = made(backend, url)
    sys.exit(CODE)


def check_unconnected(error: Exception | None) -> None:
    assert isinstance(error, isochat.ConnectError), repr(error)
    assert (error.retryable, error.may_have_executed) == (True, False)


@contextlib.contextmanager
def exhausted() -> Any:
    """Inside, the process has no descriptor left."""
    few: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                few.append(os.dup(2))
        yield few
    finally:
        for one in few:
            os.close(one)


def many_at_once_without_descriptors(backend: str, url: str) -> None:
    """Streams are opened until no descriptor is left: an error of ours, and those that are open are whole."""
    client = made(backend, url)
    assert client.chat("<<1|answer|1>>").text == "1 "
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    streams = []
    try:
        while True:
            streams.append(client.chat(f"<<{len(streams)}|slowly|3>>", stream=True))
            assert len(streams) < 100
    except isochat.ConnectError:
        pass
    assert [stream.result().text for stream in streams] == [f"{number} " * 3 for number in range(len(streams))]
    assert client.chat("<<9|answer|1>>").text == "9 "
    sys.exit(CODE)


def after_close(backend: str, url: str) -> None:
    """A closed client refuses; a stream that was open goes on to its end or says that it was cut."""
    client = made(backend, url)
    stream = client.chat("<<6|slowly|3>>", stream=True)
    client.close()
    try:
        assert stream.result().text == "6 " * 3
    except isochat.ChatError:
        pass
    for ask in (lambda: client.chat("Hi"), lambda: asyncio.run(client.achat("Hi", stream=True))):
        error: Exception | None = None
        try:
            ask()
        except isochat.ConfigurationError as refused:
            error = refused
        assert "closed" in str(error)
    client.close()
    sys.exit(CODE)


if __name__ == "__main__":
    assert socket.getdefaulttimeout() is None
    globals()[sys.argv[1]](sys.argv[2], sys.argv[3])
