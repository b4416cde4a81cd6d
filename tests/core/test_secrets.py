"""Where might the token show? Nowhere: not in an error, a repr, a pickle, a log, a traceback with its cause."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import pprint
import reprlib
import socket
import traceback
from typing import Any

import pytest

import isochat
from isochat.errors import cleaned
from isochat.redaction import Redactor, Secret, hidden, without_locals
from isochat_workspace import Workspace

TOKEN = "dapi-of-the-test"
SPELLINGS = {
    "plain": TOKEN,
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "basic": base64.b64encode(f"token:{TOKEN}".encode()).decode(),
}


def echo(status: str, spelling: str, reply: Any) -> Any:
    body = f'{{"error_code": "X", "message": "You sent Bearer {SPELLINGS[spelling]}"}}'.encode()
    return lambda connection, server: connection.sendall(reply(status, body, "X-Request-Id: r"))


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("status", ["400 Bad", "403 No", "500 Oops", "200 OK"])
def test_a_body_that_echoes_the_token(
    status: str, spelling: str, backend: str, serve: Any, make_client: Any, reply: Any
) -> None:
    server = serve(echo(status, spelling, reply))
    with pytest.raises(isochat.StatusError) as raised:
        make_client(backend, server, max_retries=0).chat("Hi")

    error = raised.value
    assert "You sent Bearer [token]" in str(error)
    assert SPELLINGS[spelling] not in shown(error)
    assert SPELLINGS[spelling] not in shown(pickle.loads(pickle.dumps(error)))
    assert SPELLINGS[spelling] not in str(error.body)


@pytest.mark.parametrize("start", [b"", b"<p>" + b"x" * 1990, b"{" + b" " * 190])
def test_a_page_that_echoes_the_token(start: bytes, backend: str, serve: Any, make_client: Any, reply: Any) -> None:
    # Also where the quotation is cut in the middle of the token.
    page = reply("200 OK", start + TOKEN.encode() + b" is what you sent")
    with pytest.raises(isochat.BadResponseError) as raised:
        make_client(backend, serve(lambda c, s: c.sendall(page)), max_retries=0).chat("Hi")

    assert TOKEN[:7] not in shown(raised.value)


def test_a_redirect_that_echoes_the_token(backend: str, serve: Any, make_client: Any, reply: Any) -> None:
    moved = reply("302 Found", b"", f"Location: https://x.example/login?token={TOKEN}")
    with pytest.raises(isochat.RedirectRefusedError) as raised:
        make_client(backend, serve(lambda c, s: c.sendall(moved)), max_retries=0).chat("Hi")

    assert TOKEN not in shown(raised.value)


def test_a_server_that_echoes_all(backend: str, serve: Any, make_client: Any) -> None:
    def script(connection: socket.socket, server: Any) -> None:
        connection.sendall(server.requests[-1])

    with pytest.raises(isochat.ProtocolError) as raised:
        make_client(backend, serve(script), max_retries=0).chat("Hi")

    assert TOKEN not in shown(raised.value)


def test_repr_of_a_client(backend: str, workspace: Workspace, make_client: Any) -> None:
    client = make_client(backend, workspace)
    client.chat("Hi")

    assert repr(client) == f"Client({backend!r}, endpoint='scripted')"


def test_a_client_does_not_pickle(workspace: Workspace, make_client: Any) -> None:
    with pytest.raises(isochat.ConfigurationError, match="does not pickle"):
        pickle.dumps(make_client("rest", workspace))


def test_repr_of_what_holds_the_token(workspace: Workspace, make_client: Any) -> None:
    from isochat.transport.tap import recording

    client = make_client("rest", workspace)
    with recording() as wires:
        client.chat("Hi")
    held = client._carrier.connections
    holders = [wires[0], held.credentials, client._carrier._settings, held._pools, wires[0].redactor]

    assert [workspace.token in repr(holder) for holder in holders] == [False] * 5


def test_a_result_does_not_hold_the_token(backend: str, workspace: Workspace, make_client: Any) -> None:
    result = make_client(backend, workspace).chat("Hi")

    assert workspace.token.encode() not in pickle.dumps(result)
    assert workspace.token not in repr(result) + repr(result.meta)


def test_the_log_has_neither_token_nor_prompt(
    backend: str, workspace: Workspace, make_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="isochat"):
        make_client(backend, workspace).chat("a private question")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("isochat")]

    assert [line.partition(":")[0] for line in lines if line.startswith("attempt")] == [f"attempt 1 by {backend}"]
    assert not [line for line in lines if workspace.token in line or "private" in line]


def test_a_secret_shows_in_no_copy() -> None:
    secret = Secret(TOKEN)
    shown = [
        repr(secret), f"{secret!r}", repr(secret[2:]), repr({"a": [secret]}), reprlib.repr([secret]),
        pprint.pformat([secret]), repr(copy.copy(secret)), repr(copy.deepcopy([secret])), repr(secret.__reduce__()),
        *(repr(pickle.dumps(secret, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ]  # fmt: skip

    assert [text for text in shown if TOKEN[2:] in text] == []
    assert copy.copy(secret) == copy.deepcopy(secret) == TOKEN


def test_no_log_by_default() -> None:
    logger = logging.getLogger("isochat")

    assert (logger.level, [type(handler) for handler in logger.handlers]) == (logging.NOTSET, [logging.NullHandler])


def test_a_secret_is_a_text_that_is_blank_in_every_repr() -> None:
    secret = Secret(TOKEN)

    assert secret == TOKEN
    assert f"Bearer {secret}" == f"Bearer {TOKEN}"
    for shown in (secret, secret[:8], secret[0], copy.copy(secret), copy.deepcopy([secret])[0], hidden(TOKEN)):
        assert repr(shown) == "[token]"
    assert TOKEN.encode() not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)) == "[token]"


def test_a_token_of_a_letter_or_two_spoils_no_text() -> None:
    redactor = Redactor(["t", "ab"])
    assert redactor.clean("not about the token") == "not about the token"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", range(6))
def test_inside_a_longer_text_in_base64(before: int, encode: Any) -> None:
    token = "dapi~~>>??-of-the-test"  # where the alphabets differ
    whole = encode(b"." * before + token.encode() + b" and what follows").decode()
    redactor = Redactor([token])

    clean = redactor.clean(whole)

    assert "[token]" in clean
    # What is left are the few characters that depend on the neighbours, too.
    assert len(whole) - len(clean.replace("[token]", "")) >= len(token) * 8 // 6 - 2
    assert redactor.clean_bytes(whole.encode()) == clean.encode()


@pytest.mark.parametrize("deep", range(5))
def test_inside_json_in_json(deep: int) -> None:
    token = 'dapi-"quoted"-/and/-slashed'
    text = token
    for _ in range(deep):
        text = json.dumps(text)[1:-1].replace("/", "\\/")

    assert Redactor([token]).clean(f"it says {text}.") == "it says [token]."


@pytest.mark.parametrize("chained", ["__cause__", "__context__"])
@pytest.mark.parametrize("module", ["isochat.made_here", "isochat_adapters.made_here", "isochats.own"])
def test_frames_of_ours_that_an_error_has_passed_show_nothing(module: str, chained: str) -> None:
    names: dict[str, Any] = {"__name__": module}
    exec("def fail():\n    prompt = 'a private question'\n    raise ValueError", names)
    with pytest.raises(ValueError) as raised:
        names["fail"]()
    outer = isochat.ChatError("it failed")
    setattr(outer, chained, raised.value)

    *_, (frame, _) = traceback.walk_tb(raised.value.__traceback__)
    assert frame.f_locals == {"prompt": "a private question"}
    without_locals(outer)
    assert bool(frame.f_locals) == (module == "isochats.own")


def test_the_names_of_our_fields_are_no_secret() -> None:
    answer = isochat.ChatResult.from_dict(
        {"choices": [{"message": {"role": "assistant", "content": "a role model"}, "finish_reason": "stop"}]}
    )
    error = isochat.StreamTruncatedError("it ended: role", partial=answer)
    cleaned(error, Redactor(["role"]).clean)

    assert error.message == "it ended: [token]"
    assert error.args == (error.message,)  # which repr and pickle show
    assert error.partial.text == "a [token] model"
    assert error.partial.finish_reason == "stop"
