"""What does a stream through isochat cost beside the bare clients, and when does its first chunk come?

Time to the first chunk: of a stream with a chunk each millisecond, from the call to the first text, less what a bare
socket needs in the same round. Cost: CPU time of this process (user and system, all threads) for each of 1,024 chunks,
the ratio to the bare OpenAI client (on a loop, to its asynchronous one), and what `rest` adds to the HTTP library and
the JSON decoder under it. Medians over interleaved rounds, of the rounds' own ratios and differences.

Two rows are floors that no client reaches: a socket, and an event loop's own protocol, each of which looks for the ends
of chunks and decodes what is between them, and knows no HTTP, no time and no errors. On a loop the target lies below it
on a machine where a packet costs more than what is in it: two turns of the loop, each with its system call.

usage: python bench/streams.py [--rounds 9] [--chunks 1024]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import urllib3

import isochat

ENDPOINT = "databricks-gpt-5"
BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
TOKEN = "t"
TARGETS = {"isochat rest": 0.10, "isochat rest, async": 0.05}
STACKS = {"isochat rest": "urllib3 + msgspec", "isochat rest, async": "aiohttp + msgspec"}
ADDED = 5.0

# Reads a stream of that prompt; gives the moment of its first text.
Reader = Callable[[str], float]


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its URL."""
    script = Path(__file__).with_name("stream_server.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def bare_socket(url: str) -> Reader:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(prompt: str) -> float:
        connection.sendall(request(prompt))
        texts = Texts()
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        data = data.partition(b"\r\n\r\n")[2]
        while not texts.feed(data):
            data = connection.recv(65536)
        return texts.first

    return read


class Texts:
    """Decodes the events in HTTP chunks of one event each; notes when the first text came."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder().decode
        self._rest = b""
        self.first = 0.0

    def feed(self, data: bytes) -> bool:
        """Whether ``data`` was the last."""
        *whole, self._rest = (self._rest + data).split(b"\n\n\r\n")
        for chunk in whole:
            event = chunk[chunk.index(b"{") :]
            text = self._decode(event)["choices"][0]["delta"].get("content") if b"[DONE]" not in event else None
            self.first = self.first or (time.perf_counter() if text else 0.0)
        return self._rest == b"0\r\n\r\n"


class Packets(asyncio.Protocol):
    """What comes, for one who waits for it."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._came: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._came.append(data)
        if self._waiter is not None:
            self._waiter.set_result(None)
            self._waiter = None

    async def read(self) -> bytes:
        if not self._came:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        data, self._came = b"".join(self._came), []
        return data


def bare_protocol(url: str, run: Callable[[Any], Any]) -> Reader:
    host, _, port = url.removeprefix("http://").partition(":")

    async def connect() -> Any:
        return (await asyncio.get_running_loop().create_connection(Packets, host, int(port)))[1]

    packets = run(connect())

    async def read(prompt: str) -> float:
        packets.transport.write(request(prompt))
        texts = Texts()
        data = b""
        while b"\r\n\r\n" not in data:
            data += await packets.read()
        data = data.partition(b"\r\n\r\n")[2]
        while not texts.feed(data):
            data = await packets.read()
        return texts.first

    return lambda prompt: run(read(prompt))  # type: ignore[no-any-return]


def request(prompt: str) -> bytes:
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "stream": True}).encode()
    return b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def bare_urllib3(url: str) -> Reader:
    pool = urllib3.PoolManager()
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

    def read(prompt: str) -> float:
        body = encode({"messages": [{"role": "user", "content": prompt}], "stream": True})
        reply = pool.request("POST", f"{url}/x", body=body, headers=headers, preload_content=False)
        first, rest = 0.0, b""
        while data := reply.read1(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    text = decode(line[6:])["choices"][0]["delta"].get("content")
                    first = first or (time.perf_counter() if text else 0.0)
        reply.release_conn()
        return first

    return read


def bare_aiohttp(url: str, run: Callable[[Any], Any], stack: contextlib.ExitStack) -> Reader:
    import aiohttp

    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = run(make())
    stack.callback(lambda: run(session.close()))

    async def read(prompt: str) -> float:
        body = encode({"messages": [{"role": "user", "content": prompt}], "stream": True})
        first, rest = 0.0, b""
        async with session.post(f"{url}/x", data=body, headers=headers) as reply:
            async for data in reply.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        text = decode(line[6:])["choices"][0]["delta"].get("content")
                        first = first or (time.perf_counter() if text else 0.0)
        return first

    return lambda prompt: run(read(prompt))  # type: ignore[no-any-return]


def bare_openai(url: str) -> Reader:
    import openai

    client = openai.OpenAI(api_key=TOKEN, base_url=f"{url}/serving-endpoints")

    def read(prompt: str) -> float:
        first = 0.0
        messages: Any = [{"role": "user", "content": prompt}]
        for chunk in client.chat.completions.create(model=ENDPOINT, messages=messages, stream=True):
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter()
        return first

    return read


def bare_openai_on_a_loop(url: str, run: Callable[[Any], Any], stack: contextlib.ExitStack) -> Reader:
    import openai

    client = openai.AsyncOpenAI(api_key=TOKEN, base_url=f"{url}/serving-endpoints")
    stack.callback(lambda: run(client.close()))

    async def read(prompt: str) -> float:
        first = 0.0
        messages: Any = [{"role": "user", "content": prompt}]
        async for chunk in await client.chat.completions.create(model=ENDPOINT, messages=messages, stream=True):
            if not first and chunk.choices and chunk.choices[0].delta.content:
                first = time.perf_counter()
        return first

    return lambda prompt: run(read(prompt))  # type: ignore[no-any-return]


def through_isochat(url: str, backend: str) -> Reader:
    client = isochat.Client(backend, endpoint=ENDPOINT, host=url, token=TOKEN)

    def read(prompt: str) -> float:
        first = 0.0
        for chunk in client.chat(prompt, stream=True):
            if not first and chunk.text:
                first = time.perf_counter()
        return first

    return read


def on_a_loop(url: str, backend: str, run: Callable[[Any], Any]) -> Reader:
    client = isochat.Client(backend, endpoint=ENDPOINT, host=url, token=TOKEN)

    async def read(prompt: str) -> float:
        first = 0.0
        async for chunk in await client.achat(prompt, stream=True):
            if not first and chunk.text:
                first = time.perf_counter()
        return first

    return lambda prompt: run(read(prompt))  # type: ignore[no-any-return]


def readers(url: str, run: Callable[[Any], Any], stack: contextlib.ExitStack) -> dict[str, Reader]:
    made = {
        "socket": bare_socket(url),
        "protocol, async": bare_protocol(url, run),
        "urllib3 + msgspec": bare_urllib3(url),
        "aiohttp + msgspec": bare_aiohttp(url, run, stack),
        "openai": bare_openai(url),
        "openai, async": bare_openai_on_a_loop(url, run, stack),
        "isochat rest": through_isochat(url, "rest"),
        "isochat rest, async": on_a_loop(url, "rest", run),
    }
    return made | {f"isochat {backend}": through_isochat(url, backend) for backend in BACKENDS[1:]}


def first_chunks(made: dict[str, Reader], rounds: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds * 10):
        for name, read in made.items():
            begun = time.perf_counter()
            times[name].append((read("<<5|1000>>") - begun) * 1e3)
    print(f"{'first chunk, one a millisecond':32}{'ms':>8}{'over the socket':>18}")
    for name, taken in times.items():
        over = statistics.median(mine - bare for mine, bare in zip(taken, times["socket"], strict=True))
        print(f"{name:32}{statistics.median(taken):8.2f}{over:+18.2f}")


def costs(made: dict[str, Reader], rounds: int, chunks: int) -> None:
    spent: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(rounds + 1):
        for name, read in made.items():
            begun = time.process_time()
            read(f"<<{chunks}|0>>")
            if turn:  # the first round warms
                spent[name].append((time.process_time() - begun) / chunks * 1e6)
    print(f"\n{f'CPU for each of {chunks} chunks':32}{'us':>8}{'of openai':>12}{'at most':>10}   (range)")
    for name, taken in spent.items():
        bare = spent["openai, async" if name.endswith("async") else "openai"]
        ratios = sorted(mine / theirs for mine, theirs in zip(taken, bare, strict=True))
        wanted = TARGETS.get(name, 0.25 if name.startswith("isochat") else None)
        goal = "" if wanted is None else f"{wanted:.2f}"
        shown = f"{statistics.median(taken):8.1f}{statistics.median(ratios):12.3f}{goal:>10}"
        print(f"{name:32}{shown}   ({ratios[0]:.3f}-{ratios[-1]:.3f})")
    print(f"\n{'added for each chunk':42}{'us':>8}{'at most':>12}")
    for name, stack in STACKS.items():
        added = statistics.median(mine - under for mine, under in zip(spent[name], spent[stack], strict=True))
        print(f"{f'{name}, to {stack}':42}{added:+8.1f}{ADDED:>12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--chunks", type=int, default=1024)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "DATABRICKS_", "ISOCHAT_"))]:
        del os.environ[name]
    with server() as url, asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        made = readers(url, runner.run, stack)
        for read in made.values():
            read("<<5|0>>")
        first_chunks(made, options.rounds)
        costs(made, options.rounds, options.chunks)


if __name__ == "__main__":
    main()
