"""What if the server sends the token back? It shows nowhere: not in the error, its parts, its pickle, a frame or a log.

The canary looks on; what these tests assert is that the error is there and says what it can.
"""

from __future__ import annotations

import base64
import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import isochat

TOKEN = "dapi-of-the-test"
SPELLINGS = {
    "plain": f"Bearer {TOKEN}",
    "base64": base64.b64encode(f"Authorization: Bearer {TOKEN}".encode()).decode(),
    "json": "".join(f"\\u{ord(c):04x}" for c in TOKEN),
    "url": "".join(f"%{ord(c):02X}" for c in TOKEN),
}


def shown(error: BaseException) -> str:
    parts = [str(error), repr(error), str(vars(error)), *traceback.format_exception(error)]
    return "".join(parts) + pickle.dumps(error).decode("latin-1")


def assert_blank(error: BaseException, echo: str) -> None:
    text = shown(error)
    assert TOKEN not in text
    assert echo not in text


def body(echo: str) -> bytes:
    return json.dumps({"error_code": "X", "message": f"You sent {echo}."}).replace("\\\\u", "\\u").encode()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", ["401 No", "500 Oops", "200 OK"])
def test_in_the_body(
    spelling: str, status: str, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any
) -> None:
    with pytest.raises(isochat.StatusError) as raised:
        chat(make_client(backend, listen(reply(status, body(SPELLINGS[spelling])))))

    assert "[token]" in raised.value.message
    assert_blank(raised.value, SPELLINGS[spelling])


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_in_headers_and_reason(
    spelling: str, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any
) -> None:
    echo = SPELLINGS[spelling]
    answer = reply(f"503 No {echo}", b"", f"X-Request-Id: {echo}", f"X-Sent: {echo}", f"Retry-After: {echo}")
    with pytest.raises(isochat.OverloadedError) as raised:
        chat(make_client(backend, listen(answer)))

    assert "[token]" in (raised.value.request_id or "")
    assert_blank(raised.value, echo)


def test_in_the_headers_of_an_answer(
    backend: str, chat: Any, listen: Any, make_client: Any, reply: Any, answer_of: Any
) -> None:
    answer = answer_of(backend, chat, "X-Request-Id: Bearer " + TOKEN, "Served-Model-Name: " + TOKEN)
    result = chat(make_client(backend, listen(answer)))

    assert result.meta.request_id == "Bearer [token]"
    assert TOKEN not in repr(result.meta) + str(result.meta.headers)


def test_in_a_redirect(backend: str, chat: Any, listen: Any, make_client: Any, reply: Any) -> None:
    answer = reply("302 Found", b"", f"Location: https://x.example/login?token={TOKEN}")
    with pytest.raises(isochat.RedirectRefusedError) as raised:
        chat(make_client(backend, listen(answer)))

    assert_blank(raised.value, TOKEN)


def test_in_a_reply_that_is_not_http(backend: str, chat: Any, listen: Any, make_client: Any) -> None:
    with pytest.raises(isochat.TransportError) as raised:
        chat(make_client(backend, listen(lambda request: request)))

    assert_blank(raised.value, TOKEN)


@pytest.mark.parametrize("start", [b"", b"{", b"<p>" + b"x" * 190, b"<p>" + b"x" * 1990])
def test_in_a_page(start: bytes, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any) -> None:
    page = reply("200 OK", start + f"{TOKEN} is what you sent".encode())
    with pytest.raises(isochat.BadResponseError) as raised:
        chat(make_client(backend, listen(page)))

    assert_blank(raised.value, TOKEN[:7])


def test_in_a_body_that_is_cut(backend: str, chat: Any, listen: Any, make_client: Any) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    with pytest.raises(isochat.ChatError) as raised:
        chat(make_client(backend, listen(f'{head}{{"choices": ["{TOKEN}'.encode())))

    assert_blank(raised.value, TOKEN)


# ------------------------------------------------------------------------------------------- inside a stream


def streams() -> Any:
    return pytest.mark.parametrize("chat", ["stream", "async stream"], indirect=True)


def delta(backend: str, text: str) -> bytes:
    if backend == "openai-responses":
        told: dict[str, Any] = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0,
                                "content_index": 0, "delta": text, "sequence_number": 1}  # fmt: skip
    else:
        told = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}  # fmt: skip
    return f"data: {json.dumps(told)}\n\n".encode()


ENDS: dict[str, Callable[[str], bytes]] = {
    "error event": lambda echo: b"data: " + body(echo) + b"\n\n",
    "named error event": lambda echo: b"event: error\ndata: " + body(echo) + b"\n\n",
    "not JSON": lambda echo: f"data: {{{echo} {echo}\n\n".encode(),
    "not JSON, cut inside": lambda echo: b"data: {" + b"x" * 95 + f"{echo} {echo}\n\n".encode(),
    "cut": lambda echo: f"data: {{{echo}".encode(),
}


@streams()
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_in_a_stream_that_fails(
    end: str, spelling: str, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any
) -> None:
    events = delta(backend, "One ") + ENDS[end](SPELLINGS[spelling])
    with pytest.raises(isochat.StreamError) as raised:
        chat(make_client(backend, listen(reply("200 OK", events, kind="text/event-stream"))))

    assert raised.value.partial.text == "One "
    assert_blank(raised.value, SPELLINGS[spelling])


@streams()
@pytest.mark.parametrize("letters", range(580, 601, 5))
def test_in_an_error_of_a_megabyte_that_is_cut_inside_the_token(
    letters: int, backend: str, chat: Any, listen: Any, make_client: Any, reply: Any
) -> None:
    events = delta(backend, "One ") + b"data: " + body("x" * letters + TOKEN + "y" * 1_100_000) + b"\n\n"
    with pytest.raises(isochat.StreamFailedError, match="You sent x") as raised:
        chat(make_client(backend, listen(reply("200 OK", events, kind="text/event-stream"))))

    assert_blank(raised.value, TOKEN[:5])


@streams()
def test_in_what_a_stream_had_delivered(backend: str, chat: Any, listen: Any, make_client: Any, reply: Any) -> None:
    created = b'data: {"type": "response.created", "response": {"id": "r", "output": []}}\n\n'
    events = created if backend == "openai-responses" else b""
    events += delta(backend, f"You sent {TOKEN[:5]}") + delta(backend, f"{TOKEN[5:]}, I ")
    with pytest.raises(isochat.StreamTruncatedError) as raised:
        chat(make_client(backend, listen(reply("200 OK", events, kind="text/event-stream"))))

    assert raised.value.partial.text == "You sent [token], I "
    assert_blank(raised.value, TOKEN)


@pytest.fixture
def answer_of(reply: Any) -> Callable[..., bytes]:
    """A whole or streamed answer in the dialect of a backend."""

    def make(backend: str, chat: Any, *headers: str) -> bytes:
        if backend == "openai-responses":
            output = [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                       "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]}]  # fmt: skip
            told: dict[str, Any] = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": output,
                                    "status": "completed", "parallel_tool_calls": True, "tools": [],
                                    "tool_choice": "auto"}  # fmt: skip
            last = f"data: {json.dumps({'type': 'response.completed', 'response': told, 'sequence_number': 2})}\n\n"
        else:
            told = {"id": "1", "object": "chat.completion", "created": 1, "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop",
                                 "message": {"role": "assistant", "content": "Hi."}}]}  # fmt: skip
            end = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}  # fmt: skip
            last = f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n"
        if "stream" in chat.__name__:
            return reply("200 OK", delta(backend, "Hi.") + last.encode(), *headers, kind="text/event-stream")
        return reply("200 OK", json.dumps(told).encode(), *headers)

    return make
