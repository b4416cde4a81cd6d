"""How did one backend's stream come: how much, when, as it was made or held back, and is it the plain answer?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from isochat.client import Client
from isochat.comparison import diff
from isochat.errors import ChatError
from isochat.results import ChatResult
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.streams import ChatStream
from isochat.transport.exchange import Exchange

Arrival = Literal["as made", "together", "too quick to tell", "too few to tell"]
LawState = Literal["holds", "broken", "not checked"]

# Seconds from chunk to chunk, on average. No model is known to write 1000 chunks in a second; what lay in a buffer is
# read at some microseconds a chunk.
_MADE_ONE_BY_ONE = 0.001
_READ_FROM_A_BUFFER = 0.0003
# Seconds of waiting before such a burst; a short answer of a quick model looks the same.
_LONG_WAIT = 0.1


class Streaming(NamedTuple):
    """What is asked beside the stream.

    Attributes:
        plain: Also make the plain call, and compare the folded stream with its answer.
        deterministic: Whether the model says the same to the same request, so that a difference proves something.
    """

    plain: bool = False
    deterministic: bool = False


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the folded stream is the plain answer.

    Attributes:
        differences: Where it is not.
        reason: Why it is not known.
    """

    state: LawState
    differences: tuple[str, ...] = ()
    reason: str = ""


class StreamTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one stream; ``None`` where the backend's own transport does not tell.

    Attributes:
        head: From sending the request to the head of the reply.
        first_chunk: From there to the first chunk.
        first_text: From there to the first chunk with text, reasoning or a piece of a tool call.
        longest_gap: The longest wait between two chunks.
        total: The whole call.
        client: What the client library spent beside waiting for the head.
        isochat: What isochat spent before and after the client, and the processor's time of reading the stream.
    """

    head: float | None
    first_chunk: float | None
    first_text: float | None
    longest_gap: float | None
    total: float
    client: float | None
    isochat: float


class Streamed(msgspec.Struct, kw_only=True):
    """One backend's stream, as far as it came.

    Attributes:
        chunks: How many there were.
        with_text: How many of them brought text, reasoning or a piece of a tool call.
        arrival: Whether they came one by one, or lay together somewhere on the way, as far as their times tell.
    """

    chunks: int = 0
    with_text: int = 0
    arrival: Arrival = "too few to tell"
    law: Law = Law(state="not checked", reason="the stream broke")
    timing: StreamTiming | None = None


def follow(
    client: Client, messages: Any, params: Mapping[str, Any], tape: Sequence[Exchange], seen: Streamed
) -> ChatResult:
    """Ask for a stream, read it to its end and note in ``seen`` how it came.

    Args:
        tape: What records the exchange.

    Raises:
        ChatError: of the call or of the stream; ``seen`` then tells of what had come.
    """
    begun = time.monotonic()
    stream: ChatStream = client.chat(messages, stream=True, **dict(params))
    opened, worked = time.monotonic(), time.thread_time()
    came: list[tuple[float, ChatChunk]] = []
    try:
        with stream:
            for chunk in stream:
                came.append((time.monotonic(), chunk))
            result = stream.result()
    finally:
        ended, worked = time.monotonic(), time.thread_time() - worked
        times = tape[-1].times if tape else {}
        asked = times.get("sent", begun)
        texts = [at for at, chunk in came if chunk.text or chunk.reasoning or chunk.tool_calls]
        moments = [at for at, _ in came]
        seen.chunks, seen.with_text = len(moments), len(texts)
        seen.arrival = arrival(texts, asked)
        inside = times["returned"] - times["client"] if "returned" in times else opened - begun
        waited = times["head"] - asked if "head" in times else None
        seen.timing = StreamTiming(
            head=_ms(waited),
            first_chunk=_ms(moments[0] - asked if moments else None),
            first_text=_ms(texts[0] - asked if texts else None),
            longest_gap=_ms(max((b - a for a, b in itertools.pairwise(moments)), default=None)),
            total=1000 * (ended - begun),
            client=_ms(None if waited is None else inside - waited),
            isochat=1000 * (opened - begun - inside + worked),
        )
    seen.law = _adds_up(result, [chunk for _, chunk in came])
    return result


def hold_against_plain(
    client: Client, messages: Any, params: Mapping[str, Any], folded: ChatResult, streaming: Streaming
) -> Law:
    """Make the plain call and judge whether ``folded`` is its answer."""
    if not streaming.plain:
        return Law(state="not checked", reason="this model need not say the same twice, so it was not asked again")
    try:
        found = diff(client.chat(messages, **dict(params)), folded)
    except ChatError as error:
        return Law(state="not checked", reason=f"the plain call failed: {' '.join(str(error).split())}")
    if not found:
        return Law(state="holds")
    if streaming.deterministic:
        return Law(state="broken", differences=tuple(f"{one} (plain != folded)" for one in found))
    return Law(state="not checked", reason="the plain answer reads otherwise; this model need not say the same twice")


def _adds_up(result: ChatResult, chunks: Sequence[ChatChunk]) -> Law:
    """Whether the texts that were handed out are those of the result: known of every model, by one call."""
    wrong = []
    for choice in result.choices:
        said = "".join(chunk.text for chunk in chunks if chunk.index == choice.index)
        # Of an agent's several texts the result has the last.
        if not said.endswith(choice.message.content or ""):
            wrong.append(
                f"choices[{choice.index}].message.content: {choice.message.content!r} != {said!r} (result != chunks)"
            )
    return Law(state="broken", differences=tuple(wrong)) if wrong else Law(state="not checked")


def arrival(moments: Sequence[float], asked: float) -> Arrival:
    """What the ``moments`` at which chunks with text came tell of a request sent at ``asked``, all in seconds."""
    if len(moments) < 3:
        return "too few to tell"
    pace = (moments[-1] - moments[0]) / (len(moments) - 1)
    if pace >= _MADE_ONE_BY_ONE:
        return "as made"
    if pace <= _READ_FROM_A_BUFFER and moments[0] - asked >= _LONG_WAIT:
        return "together"
    return "too quick to tell"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
