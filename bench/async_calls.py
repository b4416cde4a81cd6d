"""What does a call on an event loop cost beside the same call on the bare client, many of them in flight?

CPU time of this process, median over interleaved rounds; the ratio is the median of the rounds' ratios. The server is
another process. The bare counterpart of ``rest`` is aiohttp with msgspec, set up as its documentation says.

usage: python bench/async_calls.py [--rounds 9] [--calls 640] [--in-flight 64]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec
import openai

# The server and the request are those of the synchronous calls.
from calls import ENDPOINT, MAX_TOKENS, PROMPT, server

from isochat import plugins
from isochat.backend import Reply, Setup
from isochat.request import Request
from isochat.transport.async_pools import AsyncPools
from isochat.transport.async_wire import AsyncWire
from isochat.transport.deadline import Deadline, SystemClock

Call = Callable[[], Awaitable[object]]
MESSAGE = {"role": "user", "content": PROMPT}
BACKENDS = ("rest", "openai-chat", "openai-responses")


def bare_calls(url: str, token: str, session: aiohttp.ClientSession) -> dict[str, Call]:
    """One call on each bare client."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
    invocations = f"{url}/serving-endpoints/{ENDPOINT}/invocations"
    body = {"messages": [MESSAGE], "max_tokens": MAX_TOKENS}
    client = openai.AsyncOpenAI(api_key=token, base_url=f"{url}/serving-endpoints")

    async def rest() -> object:
        async with session.post(invocations, data=encode(body), headers=headers) as reply:
            return decode(await reply.read())

    return {
        "rest": rest,
        "openai-chat": lambda: client.chat.completions.create(
            model=ENDPOINT, messages=[MESSAGE], max_tokens=MAX_TOKENS
        ),
        "openai-responses": lambda: client.responses.create(
            model=ENDPOINT, input=[MESSAGE], max_output_tokens=MAX_TOKENS
        ),
    }


def calls_over_the_wire(url: str, token: str, pools: AsyncPools) -> dict[str, Call]:
    """The same on isochat's wire, decoded too: what a backend and its wire cost, without policy and result."""
    decode, clock = msgspec.json.Decoder().decode, SystemClock()
    setup = Setup(host=url, route="serving-endpoints", api_base=f"{url}/serving-endpoints")

    def call(name: str) -> Call:
        backend = plugins.load_backend(name)(setup)
        body = (
            {"input": [MESSAGE], "max_output_tokens": MAX_TOKENS}
            if name == "openai-responses"
            else {"messages": [MESSAGE], "max_tokens": MAX_TOKENS}
        )
        request = Request(ENDPOINT, backend.capabilities.api, body, (MESSAGE,), ENDPOINT)

        async def once() -> object:
            wire = AsyncWire(pools, Deadline(300, clock), credentials={"Authorization": f"Bearer {token}"})
            reply = await backend.acomplete(request, wire)
            assert isinstance(reply, Reply)
            return decode(reply.body)

        return once

    return {name: call(name) for name in BACKENDS}


async def microseconds(call: Call, calls: int, in_flight: int) -> float:
    """CPU time of one call, ``in_flight`` at once."""

    async def worker() -> None:
        for _ in range(calls // in_flight):
            await call()

    begun = time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.process_time() - begun) / (calls // in_flight * in_flight) * 1e6


async def compare(url: str, token: str, options: argparse.Namespace) -> None:
    pools = AsyncPools()
    async with aiohttp.ClientSession() as session:
        bare, ours = bare_calls(url, token, session), calls_over_the_wire(url, token, pools)
        print(f"{'backend':18}{'bare us':>10}{'wire us':>12}{'ratio':>8}   (range)")
        for name in BACKENDS:
            for warm in (bare[name], ours[name]):
                await microseconds(warm, options.in_flight * 2, options.in_flight)
            rounds = []
            for turn in range(options.rounds):
                pair = {}
                for which in (bare, ours) if turn % 2 else (ours, bare):
                    pair[which is ours] = await microseconds(which[name], options.calls, options.in_flight)
                rounds.append((pair[False], pair[True]))
            ratios = sorted(mine / theirs for theirs, mine in rounds)
            theirs, mine = (statistics.median(column) for column in zip(*rounds, strict=True))
            spread = f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
            print(f"{name:18}{theirs:10.0f}{mine:12.0f}{statistics.median(ratios):8.2f}   {spread}")
    await pools.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=640)
    parser.add_argument("--in-flight", type=int, default=64)
    options = parser.parse_args()
    with server() as (url, token):
        asyncio.run(compare(url, token, options))


if __name__ == "__main__":
    main()
