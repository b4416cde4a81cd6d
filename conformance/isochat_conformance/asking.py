"""How is a client asked in each mode, and what came of it?"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from isochat.client import Client
from isochat.results import ChatResult
from isochat.streaming.chunks import ChatChunk
from isochat_conformance.modes import Mode, is_async, is_streamed


class Answer(msgspec.Struct, eq=False):
    """What came of one call.

    Attributes:
        outcome: The result, or what was raised.
        chunks: What a stream had handed out until then.
        opened: Whether the call had returned a stream.
    """

    outcome: ChatResult | Exception
    chunks: list[ChatChunk] = msgspec.field(default_factory=list)
    opened: bool = False


def ask(client: Client, messages: Any, params: Mapping[str, Any], mode: Mode, runner: asyncio.Runner) -> Answer:
    """Ask in ``mode`` and wait for the end, on the loop of ``runner`` where it is an asynchronous one."""
    with without_warnings():
        match is_streamed(mode), is_async(mode):
            case False, False:
                return _plain(client, messages, params)
            case False, True:
                return runner.run(_plain_async(client, messages, params))
            case True, False:
                return _streamed(client, messages, params)
        return runner.run(_streamed_async(client, messages, params))


def _plain(client: Client, messages: Any, params: Mapping[str, Any]) -> Answer:
    try:
        result: ChatResult = client.chat(messages, stream=False, **params)
        return Answer(result)
    except Exception as error:
        return Answer(error)


async def _plain_async(client: Client, messages: Any, params: Mapping[str, Any]) -> Answer:
    try:
        result: ChatResult = await client.achat(messages, stream=False, **params)
        return Answer(result)
    except Exception as error:
        return Answer(error)


def _streamed(client: Client, messages: Any, params: Mapping[str, Any]) -> Answer:
    chunks: list[ChatChunk] = []
    opened = False
    try:
        with client.chat(messages, stream=True, **params) as stream:
            opened = True
            for chunk in stream:
                chunks.append(chunk)
            return Answer(stream.result(), chunks, opened)
    except Exception as error:
        return Answer(error, chunks, opened)


async def _streamed_async(client: Client, messages: Any, params: Mapping[str, Any]) -> Answer:
    chunks: list[ChatChunk] = []
    opened = False
    try:
        async with await client.achat(messages, stream=True, **params) as stream:
            opened = True
            async for chunk in stream:
                chunks.append(chunk)
            return Answer(await stream.result(), chunks, opened)
    except Exception as error:
        return Answer(error, chunks, opened)


@contextmanager
def without_warnings() -> Iterator[None]:
    """What a client library warns of while it is imported or builds its own errors is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
