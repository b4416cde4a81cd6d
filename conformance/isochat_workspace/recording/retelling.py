"""How is a recorded reply told to a client of the other API, or to one that streams where the recorder did not?

The reply is read by isochat's own readers, written in the words that are asked for, and read again: if that is not the
same answer by `isochat.diff`, those words cannot tell it, and the first difference is the reason. Where nothing has to
change, the bytes are those that were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import isochat
from isochat.errors import ChatError
from isochat.request import Api
from isochat.results import ChatResult, Meta
from isochat.status_errors import reports_error
from isochat.streaming.events import EventDecoder
from isochat.streaming.reading import StreamReading
from isochat.wire_format.json_text import decode
from isochat.wire_format.replies import read_reply
from isochat_workspace.http.event_stream import DONE, write_event
from isochat_workspace.http.http_reply import HttpReply, json_bytes
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.models.model import Dialect
from isochat_workspace.models.reply_source import Reply
from isochat_workspace.recording.asked import Asked
from isochat_workspace.recording.exchange import Exchange, is_event_stream
from isochat_workspace.recording.exchange_cleaning import UncleanError, opened_body
from isochat_workspace.recording.told_as_chat import CannotTellError, completion_chunks, completion_of
from isochat_workspace.recording.told_as_responses import response_events, response_of

_APIS: Mapping[Dialect, Api] = {"chat": "chat-completions", "responses": "responses"}
_NAMES: Mapping[Dialect, str] = {"chat": "chat completions", "responses": "the Responses API"}
_LARGEST_EVENT: Final = 64 * 1024 * 1024
_PIECE: Final = 65536
_NO_STREAM = (b"{", b"[", b"<")
_WORDS_OF_AGENTS = (b'"messages"', b'"output"', b'"delta"', b'"item"')
_NOT_ASKED_AGAIN = ("content-type", "content-encoding")


def retell(exchange: Exchange, recorded: Asked, wanted: Asked) -> Reply:
    """The reply of an exchange as `wanted` asks for it. Raises CannotTellError, with the reason."""
    reply = exchange.reply
    if reply.status >= 300:
        return as_recorded(reply)
    body = _body(exchange)
    streamed = _is_stream(reply, body, recorded)
    # An endpoint that answers a request for a stream with a whole reply is replayed as it is.
    same_mode = streamed == wanted.streamed or (recorded.streamed and not streamed)
    if recorded.api == wanted.api and same_mode and (same := _on_the_same_api(reply, body, recorded, wanted)):
        return same
    if reply.end != "clean":
        raise CannotTellError("the recorded reply breaks off")
    said, answer = _read(body, streamed, recorded.api, delimited=reply.framing != "close")
    if answer is None:
        return as_recorded(reply)  # an error, in whose words both APIs are one
    told = _written(_in_words(said, answer, recorded, wanted), wanted, reply)
    _, again = _read(_body_of(told), wanted.streamed, wanted.api)
    if again is None:
        raise CannotTellError(f"{_NAMES[wanted.api]} cannot tell it: no answer is left")
    if found := isochat.diff(answer, again):
        raise CannotTellError(f"{_NAMES[wanted.api]} cannot tell it: {str(found[0])[:300]}")
    return told


def as_recorded(reply: StreamReply) -> Reply:
    """The reply byte for byte."""
    if reply.framing != "content-length" or reply.end != "clean":
        return reply
    return HttpReply(reply.status, reply.headers, _joined(reply))


def _joined(reply: StreamReply) -> bytes:
    assert isinstance(reply.pieces, tuple)
    return b"".join(reply.pieces)


def _body(exchange: Exchange) -> bytes:
    headers = {name.lower(): value for name, value in exchange.reply.header_pairs()}
    try:
        return opened_body(headers.get("content-encoding", "identity"), _joined(exchange.reply))
    except UncleanError as error:
        raise CannotTellError(f"the recorded reply cannot be read: {error}") from None


def _is_stream(reply: StreamReply, body: bytes, recorded: Asked) -> bool:
    if is_event_stream(reply.header_pairs()):
        return True
    return recorded.streamed and not body.lstrip().startswith(_NO_STREAM)


def _on_the_same_api(reply: StreamReply, body: bytes, recorded: Asked, wanted: Asked) -> Reply | None:
    """The same bytes, but for the two ways of Responses streams; None where they have to be read and written anew."""
    if recorded.operation == wanted.operation or wanted.api == "chat":
        is_agents = wanted.operation == "chat" != recorded.operation and _is_an_agents(body)
        return None if is_agents else as_recorded(reply)
    if wanted.operation != "invocations" or not wanted.streamed or reply.end != "clean":
        return as_recorded(reply)
    # MLflow's `predict_stream` refuses any line but `data:`, and agents end with [DONE].
    events = [event.data for event in EventDecoder(_LARGEST_EVENT).feed(body) if not event.stray]
    pieces = [b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n" for data in events]
    return StreamReply(reply.status, reply.header_pairs(), tuple(pieces if DONE in pieces else [*pieces, DONE]))


def _is_an_agents(body: bytes) -> bool:
    """Whether a reply is an agent's, in words that the chat path does not carry: no choices, but messages or items."""
    return b'"choices"' not in body and any(word in body for word in _WORDS_OF_AGENTS)


def _read(
    body: bytes, streamed: bool, api: Dialect, *, delimited: bool = True
) -> tuple[dict[str, Any], ChatResult | None]:
    """A reply as a plain call brings it, and the answer in it; None where it is an error in place of an answer."""
    try:
        said: Any = None
        if streamed:
            reading = StreamReading(_APIS[api])
            for start in range(0, len(body), _PIECE):
                reading.feed(body[start : start + _PIECE])
            reading.end(delimited)
            said = reading.reply()
            if said is not None:
                return said, reading.result(Meta())
        said = decode(body)
        if isinstance(said, dict) and reports_error(said):
            return said, None
        return said, read_reply(said, _APIS[api])
    except ChatError as error:
        raise CannotTellError(f"the recorded reply is no whole answer: {error.message}") from None


def _body_of(reply: Reply) -> bytes:
    return reply.body if isinstance(reply, HttpReply) else _joined(reply)


def _in_words(said: dict[str, Any], answer: ChatResult, recorded: Asked, wanted: Asked) -> dict[str, Any]:
    """The reply in the words of the API that is asked for; as it is where it speaks them already."""
    if recorded.api == wanted.api and wanted.operation == "invocations":
        return said  # an agent's too, in whatever words it answers here
    if wanted.api == "chat":
        return said if "choices" in said else completion_of(answer)
    return said if "output" in said and "choices" not in said else response_of(answer)


def _written(said: dict[str, Any], wanted: Asked, recorded: StreamReply) -> Reply:
    kept = tuple(pair for pair in recorded.header_pairs() if pair[0].lower() not in _NOT_ASKED_AGAIN)
    if not wanted.streamed:
        return HttpReply(recorded.status, (("content-type", "application/json"), *kept), json_bytes(said))
    pieces = tuple(_pieces(said, wanted))
    headers = (("content-type", "text/event-stream"), *kept)
    return StreamReply(recorded.status, headers, pieces)


def _pieces(said: dict[str, Any], wanted: Asked) -> Iterator[bytes]:
    named = wanted.api == "responses" and wanted.operation != "invocations"
    if isinstance(said.get("choices"), list):
        events = completion_chunks(said)
    elif isinstance(said.get("output"), list):
        events = response_events(said)
        named = named and said.get("status") is not None
    else:
        events = _agent_chunks(said)
    for event in events:
        yield write_event(event, event["type"] if named else None)
    if not named:
        yield DONE


def _agent_chunks(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of a ChatAgent, one for each of its messages (payload of databricks-ai-bridge, MLflow's types)."""
    rest = {name: value for name, value in said.items() if name not in ("messages", "finish_reason", "usage")}
    messages = said.get("messages") or []
    for message in messages[:-1]:
        yield {**rest, "delta": message}
    last = {name: said[name] for name in ("finish_reason", "usage") if said.get(name) is not None}
    for message in messages[-1:]:
        yield {**rest, "delta": message, **last}
