"""Is the OpenAI client's own object the client's, and silent whatever Databricks said? Warnings are errors here."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace

REASONING = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm.", "signature": "s1"}]}
BLOCKS = [REASONING, {"type": "text", "text": "So.", "citations": [{"type": "char_location"}]}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}, "thoughtSignature": "t"}
CHAT = {
    "id": None,
    "object": "chat.completion",
    "created": 1767225600.5,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": BLOCKS, "tool_calls": [CALL]},
            "finish_reason": "end_turn",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": None, "total_tokens": "2"},
}
TEXT = {"type": "output_text", "text": "So.", "annotations": [{"type": "char_location"}]}
RESPONSES = {
    "id": None,
    "object": "response",
    "status": "odd",
    "output": [
        {**REASONING, "id": "rs_1"},
        {"type": "widget", "data": {"n": 1}},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [TEXT]},
    ],
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
}
REPLIES: dict[str, dict[str, Any]] = {"openai-chat": CHAT, "openai-responses": RESPONSES}


@pytest.fixture(params=REPLIES)
def result(request: pytest.FixtureRequest, make_client: Callable[..., isochat.Client]) -> Iterator[isochat.ChatResult]:
    dialect = request.param.removeprefix("openai-")
    reply = HttpReply(
        200,
        {"content-type": "application/json", "x-request-id": "r-1"},
        json.dumps(REPLIES[request.param]).encode(),
    )
    with Workspace([Endpoint("blocks", Replay({dialect: reply}))]) as workspace:
        yield make_client(request.param, workspace, endpoint="blocks").chat("Why?")


DUMPS: dict[str, Callable[[Any], Any]] = {
    "model_dump": lambda native: native.model_dump(),
    "model_dump of json": lambda native: native.model_dump(mode="json", exclude_unset=True),
    "model_dump with warnings": lambda native: native.model_dump(warnings=True),
    "model_dump_json": lambda native: native.model_dump_json(),
    "to_dict": lambda native: native.to_dict(),
    "to_json": lambda native: native.to_json(),
    "repr": repr,
    "str": str,
    "a copy": lambda native: copy.copy(native).to_dict(),
    "a deep copy": lambda native: copy.deepcopy(native).to_dict(),
    "a model copy": lambda native: native.model_copy(deep=True).to_dict(),
    "what lies inside": lambda native: [part.to_dict() for part in inside(native)],
}


def inside(native: Any) -> list[Any]:
    return [native.choices[0], native.choices[0].message, native.usage] if hasattr(native, "choices") else native.output


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_is_silent(result: isochat.ChatResult, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert DUMPS[name](result.meta.native)


def test_it_holds_what_the_client_read(result: isochat.ChatResult) -> None:
    assert result.meta.native.to_dict() == REPLIES[result.meta.backend]
    assert json.loads(result.meta.native.to_json()) == REPLIES[result.meta.backend]
    assert result.meta.native._request_id == "r-1"


def test_it_is_of_the_clients_own_class(result: isochat.ChatResult) -> None:
    from openai.types.chat import ChatCompletion
    from openai.types.chat.chat_completion import Choice
    from openai.types.responses import Response, ResponseReasoningItem

    native = result.meta.native
    first = native.choices[0] if result.meta.backend == "openai-chat" else native.output[0]
    outer, inner = {"openai-chat": (ChatCompletion, Choice), "openai-responses": (Response, ResponseReasoningItem)}[
        result.meta.backend
    ]

    assert isinstance(native, outer)
    assert isinstance(first, inner)
    assert (type(native).__name__, type(native).__module__) == (outer.__name__, outer.__module__)


def test_it_pickles_as_the_clients_own_class(result: isochat.ChatResult) -> None:
    native = pickle.loads(pickle.dumps(result.meta.native))

    assert type(native) in type(result.meta.native).__mro__[1:]
    assert repr(native) == repr(result.meta.native)


def test_the_clients_own_classes_stay_as_they_are(result: isochat.ChatResult) -> None:
    from openai.types.chat import ChatCompletionMessage

    _ = result.meta.native
    message = ChatCompletionMessage.construct(role="assistant", content=BLOCKS)

    assert type(message) is ChatCompletionMessage
    with pytest.warns(UserWarning, match="Pydantic serializer warnings"):
        message.model_dump()
