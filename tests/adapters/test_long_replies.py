"""Is a long reply read once in a call, and by the client itself when somebody asks for its own object?

MLflow and the SDK read a reply before they return, into a text and objects of their own. Of a long one they are shown
nothing until ``meta.native`` is read; then they make their call again, over what has come.
"""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import isochat
from isochat_conformance.fault_bytes import shared_bodies
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

LONG = "All of it. " * 20_000


def long_reply(dialect: str, text: str = LONG) -> HttpReply:
    api = "responses" if dialect == "responses" else "chat-completions"
    body = shared_bodies()[api]["answer"].replace("hello", text)  # type: ignore[index]
    return HttpReply(200, {"content-type": "application/json", "served-model-name": "m-1"}, body.encode())


def workspace_of(backend: str, reply: HttpReply) -> Workspace:
    return Workspace([Endpoint("long", Replay({"responses" if backend == "openai-responses" else "chat": reply}))])


def texts_in(native: Any) -> str:
    held = native.model_dump_json() if hasattr(native, "model_dump_json") else None
    if held is None:
        held = json.dumps(native.as_dict() if hasattr(native, "as_dict") else dict(native))
    return str(held)


@pytest.mark.parametrize("chosen", ["sync", "async"])
def test_the_client_reads_it_without_another_request(
    chosen: str, backend: str, make_client: Callable[..., isochat.Client]
) -> None:
    with workspace_of(backend, long_reply(backend.removeprefix("openai-"))) as workspace:
        client = make_client(backend, workspace, endpoint="long")
        result = client.chat("Why?") if chosen == "sync" else asyncio.run(client.achat("Why?"))
        client.close()

        assert result.text == LONG
        assert LONG in texts_in(result.meta.native)
        assert result.meta.native is result.meta.native
        assert len(workspace.requests) == 1

    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize("backend", ["mlflow", "databricks-sdk"])
def test_what_the_client_holds_is_what_it_holds_of_a_short_one(
    backend: str, make_client: Callable[..., isochat.Client]
) -> None:
    natives = []
    for text in ("hello", LONG):
        with workspace_of(backend, long_reply("chat", text)) as workspace:
            natives.append(make_client(backend, workspace, endpoint="long").chat("Why?").meta.native)

    short, long = natives
    assert type(short) is type(long)
    assert texts_in(long) == texts_in(short).replace("hello", LONG)


def test_a_client_that_cannot_read_it_says_so_when_asked(make_client: Callable[..., isochat.Client]) -> None:
    answer = {"id": None, "choices": [{"index": 0, "message": {"content": LONG}}], "usage": "none"}
    reply = HttpReply(200, {"content-type": "application/json"}, json.dumps(answer).encode())
    with workspace_of("databricks-sdk", reply) as workspace:
        result = make_client("databricks-sdk", workspace, endpoint="long").chat("Hi")

        assert (result.text, result.meta.client_call) == (LONG, "serving_endpoints.query")
        with pytest.raises(isochat.BadResponseError, match=r"serving_endpoints\.query cannot read this reply itself"):
            _ = result.meta.native
        assert len(workspace.requests) == 1
