"""How is a client asked, in each of the four modes? Its outcome is noted as far as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from isochat.client import Client
from isochat.results import ChatResult
from isochat_conformance.fault_check import Came

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class SkippingClock:
    """The machine's clock, on which every sleep is over at once.

    Attributes:
        skipped: Seconds that were slept.
    """

    def __init__(self) -> None:
        self.skipped = 0.0

    def monotonic(self) -> float:
        """Seconds, those slept included."""
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float, woken: Any, /) -> None:
        """Let ``seconds`` have passed."""
        self.skipped += seconds

    async def asleep(self, seconds: float, woken: Any, /) -> None:
        """As :meth:`sleep`, on an event loop."""
        self.skipped += seconds
        await asyncio.sleep(0)


def ask_in_thread(came: Came, client: Client, before: str | None, arguments: Any, clock: SkippingClock) -> None:
    """Ask and wait.

    Args:
        before: What the client does before: get an ``answer``, or leave a stream ``open``.
    """
    held = client.chat("Hi", stream=True) if before == "open" else None
    if before == "answer":
        earlier = client.chat("Hi", stream=came.streams)
        if not isinstance(earlier, ChatResult):
            earlier.result()
    clock.skipped = 0.0
    try:
        answer = client.chat(**arguments, stream=came.streams)
        if isinstance(answer, ChatResult):
            came.result = answer
        else:
            for chunk in answer:
                came.pieces.append(chunk.text)
            came.result = answer.result()
    finally:
        if held is not None:
            held.close()


async def ask_on_loop(came: Came, client: Client, before: str | None, arguments: Any, clock: SkippingClock) -> None:
    """As :func:`ask_in_thread`, on an event loop."""
    async with client:
        held = await client.achat("Hi", stream=True) if before == "open" else None
        if before == "answer":
            earlier = await client.achat("Hi", stream=came.streams)
            if not isinstance(earlier, ChatResult):
                await earlier.result()
        clock.skipped = 0.0
        try:
            answer = await client.achat(**arguments, stream=came.streams)
            if isinstance(answer, ChatResult):
                came.result = answer
            else:
                async for chunk in answer:
                    came.pieces.append(chunk.text)
                came.result = await answer.result()
        finally:
            if held is not None:
                await held.aclose()


def filled(value: Any, places: Mapping[str, str]) -> Any:
    """``value`` with ``${name}`` replaced in all its texts, for each name of ``places``."""
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace("${" + name + "}", text)
        return value
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if isinstance(value, dict):
        return {name: filled(item, places) for name, item in value.items()}
    return value


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside, the environment has ``variables`` and no other proxies; without any it is left alone."""
    if not variables:
        yield
        return
    before = dict(os.environ)
    try:
        for name in list(os.environ):
            if name.lower() in _PROXY_VARIABLES:
                del os.environ[name]
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
