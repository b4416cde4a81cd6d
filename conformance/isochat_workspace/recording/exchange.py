"""How is one exchange written down for people, and read again to the byte?

An exchange is one JSON document over several lines, for reading and for `diff`. What is JSON in it stands as JSON, the
request's with sorted keys (requests are matched by meaning), the reply's in its own order and only where the bytes
that came can be made of it again (`exact_json.py`). What cannot stands as text, and what is no text in base64.
A streamed body keeps its pieces, a line each; a piece that is an event in the usual form stands as its name and data.
`length` is what a body that was cut short of it had announced.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.recording.exact_json import STYLES, read_exactly, read_strict, write_in

_WIDTH = 100
_ABSENT: Final = object()
_EXCHANGE = ("request", "reply")
_REQUEST = ("method", "target", "client", "json", "text", "base64")
_REPLY = ("status", "headers", "framing", "end", "length", "style", "json", "text", "base64", "pieces")
_EVENT = ("event", "data")
_FRAMINGS = ("content-length", "chunked", "close")
_ENDS = ("clean", "cut")
_EVENT_BYTES = re.compile(rb"(?:event: ([^\r\n]+)\n)?data: ([^\r\n]+)\n\n")
_METHOD = re.compile(r"[A-Z-]{1,20}")
_TARGET = re.compile(r"/[!-~]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class FormatError(ValueError):
    """A document is no exchange; `key` is the key that is wrong, or None where there is none to name."""

    def __init__(self, reason: str, key: str | None = None) -> None:
        super().__init__(reason)
        self.key = key


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """The request of an exchange: `json` is its body where that is JSON (else ABSENT), `raw` its body where it is not.

    `client` is the User-Agent: for people, never compared.
    """

    method: str
    target: str
    client: str = ""
    json: Any = _ABSENT
    raw: bytes = b""

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.json is not _ABSENT


def question_of(method: str, target: str, body: bytes, client: str = "") -> Question:
    """A request as it came."""
    try:
        return Question(method, target, client, read_strict(body.decode()))
    except ValueError:
        return Question(method, target, client, raw=body)


@dataclasses.dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the reply that came: its pieces are a tuple of bytes, its end "clean" or "cut"."""

    question: Question
    reply: StreamReply

    @property
    def pieces(self) -> Sequence[bytes]:
        """The pieces of the reply's body."""
        pieces = self.reply.pieces
        assert isinstance(pieces, tuple)
        return pieces


def is_event_stream(headers: Sequence[tuple[str, str]]) -> bool:
    """Whether these headers announce server-sent events."""
    return any(n.lower() == "content-type" and v.lower().startswith("text/event-stream") for n, v in headers)


# ---------------------------------------------------------------------------------------------- writing


def write_exchange(exchange: Exchange) -> bytes:
    """The document of an exchange: lines of UTF-8 that begin with `{` and end with `}`, alone on their lines."""
    question, reply = exchange.question, exchange.reply
    request: dict[str, Any] = {"method": question.method, "target": question.target}
    if question.client:
        request["client"] = question.client
    if question.is_json:
        request["json"] = _sorted(question.json)
    elif question.raw:
        request.update(_as_text(question.raw))
    answer: dict[str, Any] = {"status": reply.status, "headers": [list(pair) for pair in reply.header_pairs()]}
    if reply.framing != "content-length":
        answer["framing"] = reply.framing
    if reply.end != "clean":
        answer["end"] = reply.end
        if reply.framing == "content-length":
            answer["length"] = reply.declared_length()
    pieces = exchange.pieces
    whole = b"".join(pieces)
    if is_event_stream(reply.header_pairs()) or (len(pieces) > 1 and read_exactly(whole) is None):
        style, items = _written_pieces(pieces)
        answer.update({"style": style} if style != STYLES[0] else {})
        answer["pieces"] = [_OneLine(item) for item in items]
    elif (found := read_exactly(whole)) is not None:
        answer.update({"style": found[1]} if found[1] != STYLES[0] else {})
        answer["json"] = found[0]
    elif whole:
        answer.update(_as_text(whole))
    text = _pretty({"request": request, "reply": answer}, 0, whole=True) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can carry it
        return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def _sorted(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True))


def _as_text(raw: bytes) -> dict[str, str]:
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _written_pieces(pieces: Sequence[bytes]) -> tuple[str, list[Any]]:
    """The pieces as they are written, and the style of their JSON: the one that the first event is in."""
    events = [data for piece in pieces for _, data in _EVENT_BYTES.findall(piece)]
    style = next((found[1] for data in events if (found := read_exactly(data)) is not None), STYLES[0])
    written = [[_written_part(part, style) for part in _parts(piece)] for piece in pieces]
    return style, [items[0] if len(items) == 1 else items for items in written]


def _parts(piece: bytes) -> Iterator[bytes]:
    """A piece cut behind each empty line."""
    start = 0
    while start < len(piece):
        end = piece.find(b"\n\n", start)
        end = len(piece) if end < 0 else end + 2
        yield piece[start:end]
        start = end


def _written_part(part: bytes, style: str) -> Any:
    event = _EVENT_BYTES.fullmatch(part)
    if event is not None and (found := read_exactly(event[2], (style,))) is not None:
        try:
            return {**({"event": event[1].decode()} if event[1] is not None else {}), "data": found[0]}
        except UnicodeDecodeError:
            pass
    text = _as_text(part)
    return text.get("text", text)


class _OneLine:
    """A value that is printed on one line, however long it is."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _pretty(value: Any, indent: int, *, whole: bool = False) -> str:
    """JSON over several lines; what is short stands on one."""
    if isinstance(value, _OneLine):
        return _line(value.value)
    if isinstance(value, dict | list) and value:
        if not whole and not _is_long(value, _WIDTH - indent):
            return _line(value)
        inner = " " * (indent + 2)
        if isinstance(value, dict):
            items = [f"{inner}{_line(key)}: {_pretty(item, indent + 2)}" for key, item in value.items()]
        else:
            items = [inner + _pretty(item, indent + 2) for item in value]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        return opening + "\n" + ",\n".join(items) + "\n" + " " * indent + closing
    return _line(value)


def _is_long(value: Any, room: int) -> bool:
    """Whether `value` needs more than `room` characters, without writing all of it."""
    waiting, size = [value], 0
    while waiting and size <= room:
        one = waiting.pop()
        match one:
            case _OneLine():
                return True
            case dict():
                size += 2 + sum(len(key) + 6 for key in one)
                waiting.extend(one.values())
            case list():
                size += 2 + 2 * len(one)
                waiting.extend(one)
            case str():
                size += len(one) + 2
            case _:
                size += 5
    return size > room


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ---------------------------------------------------------------------------------------------- reading


def read_exchange(document: Any) -> Exchange:
    """The exchange that a document tells. Raises FormatError, which names the key."""
    exchange = _object(document, "an exchange", _EXCHANGE, required=_EXCHANGE)
    request = _object(exchange["request"], "request", _REQUEST, required=("method", "target"))
    reply = _object(exchange["reply"], "reply", _REPLY, required=("status", "headers"))
    return Exchange(_read_question(request), _read_reply(reply))


def _read_question(request: Mapping[str, Any]) -> Question:
    method = _text(request, "method", _METHOD, "a method in capitals")
    target = _text(request, "target", _TARGET, "a path that begins with /")
    client = _text(request, "client") if "client" in request else ""
    _one_body(request, "request", ("json", "text", "base64"))
    if "json" in request:
        return Question(method, target, client, request["json"])
    return Question(method, target, client, raw=_bytes(request))


def _read_reply(reply: Mapping[str, Any]) -> StreamReply:
    status = reply["status"]
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise FormatError(f"status is {_shown(status)}; expected a number from 200 to 599", "status")
    framing = _word(reply, "framing", _FRAMINGS)
    end = _word(reply, "end", _ENDS)
    style = _word(reply, "style", STYLES)
    _one_body(reply, "reply", ("json", "text", "base64", "pieces"))
    if "pieces" in reply:
        given = reply["pieces"]
        if not isinstance(given, list):
            raise FormatError(f"pieces is {_shown(given)}; expected a list", "pieces")
        pieces = tuple(_piece(item, style) for item in given)
    elif "json" in reply:
        pieces = (_json_bytes(reply["json"], style, "json"),)
    else:
        raw = _bytes(reply)
        pieces = (raw,) if raw else ()
    length = reply.get("length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
        raise FormatError(f"length is {_shown(length)}; expected a number of bytes", "length")
    headers = _read_headers(reply["headers"])
    return StreamReply(status, headers, pieces, framing=framing, end=end, content_length=length)


def _piece(item: Any, style: str) -> bytes:
    if isinstance(item, list):
        return b"".join(_part(part, style) for part in item)
    return _part(item, style)


def _part(item: Any, style: str) -> bytes:
    if isinstance(item, str):
        return _encoded(item, "pieces")
    if isinstance(item, dict) and item.keys() == {"base64"}:
        return _bytes(item)
    event = _object(item, "a piece", _EVENT, required=("data",))
    name = _text(event, "event") if "event" in event else None
    data = b"data: " + _json_bytes(event["data"], style, "data") + b"\n\n"
    return data if name is None else b"event: " + _encoded(name, "event") + b"\n" + data


def _json_bytes(value: Any, style: str, key: str) -> bytes:
    try:
        return write_in(style, value)
    except (ValueError, RecursionError):
        raise FormatError(f"{key} cannot be written in the style {style!r}", key) from None


def _read_headers(given: Any) -> tuple[tuple[str, str], ...]:
    headers = []
    for pair in given if isinstance(given, list) else [given]:
        match pair:
            case [str(name), str(value)] if _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value):
                headers.append((name, value))
            case _:
                raise FormatError(f"headers has {_shown(pair)}; expected pairs of a name and a value", "headers")
    return tuple(headers)


def _one_body(mapping: Mapping[str, Any], where: str, kinds: Sequence[str]) -> None:
    given = [kind for kind in kinds if kind in mapping]
    if len(given) > 1:
        raise FormatError(f"{where} has {' and '.join(given)}; expected one of them", given[-1])


def _bytes(mapping: Mapping[str, Any]) -> bytes:
    if "text" in mapping:
        return _encoded(_text(mapping, "text"), "text")
    if "base64" not in mapping:
        return b""
    try:
        return base64.b64decode(_text(mapping, "base64"), validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("base64 is no base64", "base64") from None


def _encoded(text: str, key: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{key} holds half of a surrogate pair", key) from None


def _object(value: Any, what: str, known: Sequence[str], required: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{what} is {_shown(value)}; expected an object", what if " " not in what else None)
    for key in value:
        if key not in known:
            raise FormatError(f"{what} has the unknown key {key[:60]!r}; it may have {', '.join(known)}", key)
    for key in required:
        if key not in value:
            raise FormatError(f"{what} has no {key}", what if " " not in what else None)
    return value


def _text(mapping: Mapping[str, Any], key: str, pattern: re.Pattern[str] | None = None, wanted: str = "text") -> str:
    value = mapping[key]
    if not isinstance(value, str) or (pattern is not None and not pattern.fullmatch(value)):
        raise FormatError(f"{key} is {_shown(value)}; expected {wanted}", key)
    return value


def _word(mapping: Mapping[str, Any], key: str, words: Sequence[str]) -> Any:
    value = mapping.get(key, words[0])
    if value not in words:
        raise FormatError(f"{key} is {_shown(value)}; it may be {', '.join(words)}", key)
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
