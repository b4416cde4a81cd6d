"""What does a file say that a replay answers? One reply or stream in JSON, or one for each API.

Either a payload as it is: an object is a JSON reply, a list the events of a stream, `{"status": ..., "body": ...}` an
error; it may lie under `payload` beside notes whose keys begin with `_`. Or an exchange: `reply` and `stream`, each by
API, as in the cases of the conformance suite.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from isochat.errors import ConfigurationError
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.http.served_reply import DONE, ServerReply, ServerStream
from isochat_workspace.models.model import Dialect
from isochat_workspace.models.reply_source import Reply, ReplySource
from isochat_workspace.serving.request_fields import asks_for_stream

Api = Literal["chat-completions", "responses"]
_API: Mapping[Dialect, Api] = {"chat": "chat-completions", "responses": "responses"}


class _Exchange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reply: dict[Api, ServerReply] = {}
    stream: dict[Api, ServerStream] = {}


class FileReplay(ReplySource):
    """Answers each request with what the file holds: the stream where one is asked for, if there are both.

    An API that an exchange does not have is answered with the service's 400. A payload as it is answers on each API.
    """

    served_name = "replay"

    def __init__(self, file: Path) -> None:
        """Raises ConfigurationError if the file cannot be read or is none of the forms; the message names the place."""
        self._exchange = _read(file)
        self._refused: set[Dialect] = set()
        self._lock = threading.Lock()

    @property
    def speaks(self) -> tuple[Dialect, ...]:
        """The APIs that have a reply or a stream."""
        return tuple(api for api, name in _API.items() if name in self._exchange.reply or name in self._exchange.stream)

    async def reply(self, api: Dialect, request: RecordedRequest) -> Reply | None:
        """The reply or stream for this API."""
        whole, stream = self._exchange.reply.get(_API[api]), self._exchange.stream.get(_API[api])
        if stream is None or (whole is not None and not asks_for_stream(request.body)):
            return None if whole is None else whole.http_reply()
        if stream.refused_first is not None and self._is_first(api):
            return stream.refused_first.http_reply()
        return stream.stream_reply()

    def _is_first(self, api: Dialect) -> bool:
        with self._lock:
            first = api not in self._refused
            self._refused.add(api)
        return first


def _read(file: Path) -> _Exchange:
    try:
        data = msgspec.json.decode(file.read_bytes())
        return _exchange(data)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no file {file}", remedy="Name a file that exists") from None
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as error:  # msgspec 0.19: no ValueErrors
        raise ConfigurationError(
            f"{file} is nothing that can be replayed: {error}", remedy="Correct the file"
        ) from None


def _exchange(data: Any) -> _Exchange:
    """Raises ValueError, which names the place."""
    if isinstance(data, dict) and "payload" in data:
        for key in data:
            if key != "payload" and not key.startswith("_"):
                raise ValueError(f"unknown key {key!r} beside 'payload'")
        data = data["payload"]
    elif isinstance(data, dict) and data and set(data) <= {"reply", "stream"}:
        exchange = msgspec.convert(data, _Exchange)
        for api, reply in exchange.reply.items():
            if (reply.text is None) == (reply.json is msgspec.UNSET):
                raise ValueError(f"the reply for {api} must have either json or text")
        return exchange
    if isinstance(data, list):
        if not all(isinstance(event, dict | str) for event in data):
            raise ValueError("an event is an object or a text")
        events = [f"data: {DONE}\n\n" if event == DONE else event for event in data]
        stream = ServerStream(events=events)
        return _Exchange(stream=dict.fromkeys(_API.values(), stream))
    if not isinstance(data, dict):
        raise ValueError("a payload is an object or a list")
    if set(data) == {"status", "body"} and isinstance(data["status"], int):
        reply = ServerReply(status=data["status"], json=data["body"])
    else:
        reply = ServerReply(json=data)
    return _Exchange(reply=dict.fromkeys(_API.values(), reply))
