"""Do the chunks add up to the answer, and did every event of the server reach the caller?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from isochat.errors import ChatError
from isochat.request import Api
from isochat.results import ChatResult, Choice
from isochat.streaming.chunks import ChatChunk
from isochat_conformance.case import Case
from isochat_conformance.expectation import ExpectedChunks
from isochat_conformance.json_difference import shown
from isochat_workspace.http.served_reply import ServerStream


def check_stream(
    chunks: Sequence[ChatChunk], outcome: ChatResult | Exception, opened: bool, case: Case, api: Api
) -> Iterator[str]:
    """What is wrong with a stream beside its outcome, a finding each.

    Args:
        opened: Whether the call had returned a stream before ``outcome``.
    """
    stream = case.stream.get(api)
    if stream is None or stream.status >= 400:
        if opened:
            yield "the error's status was known before the stream began, and was raised while reading it"
        return
    if not opened and isinstance(outcome, ChatError):
        yield f"{type(outcome).__name__} was raised by the call; under a success status only reading may raise"
    whole = isinstance(outcome, ChatResult)
    result = outcome if isinstance(outcome, ChatResult) else getattr(outcome, "partial", None)
    if isinstance(result, ChatResult):
        for choice in result.choices:
            yield from _check_sum([chunk for chunk in chunks if chunk.index == choice.index], choice, whole)
        if whole and result.usage is not None and not any(chunk.usage is not None for chunk in chunks):
            yield "usage stands in the result and on no chunk"
    if whole:
        yield from _check_events(chunks, stream)
    yield from _check_pieces(chunks, case.expect.chunks.get(api, ExpectedChunks()))


def _check_sum(chunks: Sequence[ChatChunk], choice: Choice, whole: bool) -> Iterator[str]:
    message, place = choice.message, f"choices[{choice.index}]"
    text = "".join(chunk.text for chunk in chunks)
    if not text.endswith(message.content or ""):  # of an agent's several texts the last one is the content
        yield f"the chunks' texts of {place} are {shown(text)}, the content is {shown(message.content)}"
    reasoning = "".join(chunk.reasoning or "" for chunk in chunks)
    if reasoning != (message.reasoning or ""):
        yield f"the chunks' reasoning of {place} is {shown(reasoning)}, the result's {shown(message.reasoning)}"
    calls = _calls(chunks)
    for call in message.tool_calls:
        told = (call.id, call.function.name, call.function.arguments)
        if whole and told not in calls:
            yield f"the chunks of {place} bring the tool calls {shown(calls)}, the result has {shown(told)}"
    reasons = [chunk.finish_reason for chunk in chunks if chunk.finish_reason is not None]
    if whole and (reasons[-1] if reasons else None) != choice.finish_reason:
        yield f"the chunks' finish reasons of {place} are {shown(reasons)}, the result's {shown(choice.finish_reason)}"


def _calls(chunks: Sequence[ChatChunk]) -> list[tuple[str | None, str, str]]:
    calls: dict[int, tuple[str | None, str, str]] = {}
    for chunk in chunks:
        for piece in chunk.tool_calls:
            its_id, name, arguments = calls.get(piece.index, (None, "", ""))
            calls[piece.index] = (
                its_id or piece.id,
                name + piece.function.name,
                arguments + piece.function.arguments,
            )
    return list(calls.values())


def _check_events(chunks: Sequence[ChatChunk], stream: ServerStream) -> Iterator[str]:
    reached = iter(chunk.raw for chunk in chunks)
    for event in stream.told():
        if not any(raw == event for raw in reached):
            yield f"no chunk has, in its turn, this event of the server as raw: {shown(event)}"
            return


def _check_pieces(chunks: Sequence[ChatChunk], expected: ExpectedChunks) -> Iterator[str]:
    brought: dict[str, list[Any]] = {
        "text": [chunk.text for chunk in chunks if chunk.text],
        "reasoning": [chunk.reasoning for chunk in chunks if chunk.reasoning],
        "arguments": [
            call.function.arguments for chunk in chunks for call in chunk.tool_calls if call.function.arguments
        ],
    }
    for kind, found in brought.items():
        wanted = getattr(expected, kind)
        if wanted is not None and wanted != found:
            yield f"the chunks bring the {kind} {shown(found)}, expected {shown(wanted)}"
