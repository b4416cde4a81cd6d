"""What becomes of what a backend's API cannot carry: is it refused, warned of or dropped, and never in silence?"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import isochat
from isochat_workspace import Workspace

Make = Callable[..., isochat.Client]
SEED = "dropped seed: the Responses API has no such parameter"
NAMED = [{"role": "user", "name": "Ann", "content": "Hi"}]


@pytest.fixture
def responses(make_client: Make, workspace: Workspace) -> Callable[[str], isochat.Client]:
    """A client whose API has no `seed`, with that `on_unsupported`."""
    return lambda what: make_client("openai-responses", workspace, on_unsupported=what)


def test_warn_is_a_python_warning_where_the_program_calls(responses: Any) -> None:
    with pytest.warns(isochat.UnsupportedParameterWarning) as warned:
        result = responses("warn").chat("Hi", seed=1)

    assert [str(one.message) for one in warned] == [SEED]
    assert warned[0].filename == __file__
    assert result.meta.warnings == (SEED,)


def test_warn_tells_of_messages_too(responses: Any) -> None:
    with pytest.warns(isochat.UnsupportedParameterWarning, match=r"dropped messages\[0\]\.name"):
        responses("warn").chat(NAMED)


def test_warn_on_a_loop(responses: Any) -> None:
    async def ask() -> isochat.ChatResult:
        return await responses("warn").achat("Hi", seed=1)

    with pytest.warns(isochat.UnsupportedParameterWarning) as warned:
        asyncio.run(ask())

    assert [one.filename for one in warned] == [__file__]


def test_warn_by_the_short_cut(workspace: Workspace) -> None:
    where = {"endpoint": workspace.default_endpoint, "host": workspace.url, "token": workspace.token}

    with pytest.warns(isochat.UnsupportedParameterWarning) as warned:
        isochat.chat("Hi", backend="openai-responses", on_unsupported="warn", seed=1, **where)

    assert [one.filename for one in warned] == [__file__]


def test_a_program_that_takes_warnings_for_errors_sends_nothing(responses: Any, workspace: Workspace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(isochat.UnsupportedParameterWarning):
            responses("warn").chat("Hi", seed=1)

    assert workspace.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_drop_is_told_in_the_result_alone(responses: Any, workspace: Workspace, stream: bool) -> None:
    answer = responses("drop").chat("Hi", seed=1, stream=stream)
    result = answer.result() if stream else answer

    assert result.meta.warnings == (SEED,)
    assert "seed" not in workspace.requests[0].json()


def test_what_isochat_adds_is_told_and_no_python_warning(make_client: Make, workspace: Workspace) -> None:
    silent = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    strict = {"type": "function", "function": {"name": "g", "strict": True, "parameters": {"type": "object"}}}
    tools = [silent, strict, {"type": "custom", "custom": {"name": "h"}}, silent]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chat = make_client("rest", workspace, on_unsupported="warn")
        asked = make_client("openai-responses", workspace, on_unsupported="warn").chat("Hi", tools=tools)
        streamed = chat.chat("Hi", stream=True, tools=tools).result()

    assert [tool.get("strict") for tool in workspace.requests[0].json()["tools"]] == [False, True, None, False]
    assert asked.meta.warnings == (
        "added strict: false to tools[0], tools[3]: the Responses API would be strict where chat completions is not",
    )
    assert workspace.requests[1].json()["stream_options"] == {"include_usage": True}
    assert [one.split(":")[0] for one in streamed.meta.warnings] == ["added stream_options"]
    assert chat.chat("Hi", tools=tools).meta.warnings == ()
    assert chat.chat("Hi", stream=True, stream_options={}).result().meta.warnings == ()


def test_raise_sends_nothing_and_names_what_to_do(responses: Any, workspace: Workspace) -> None:
    with pytest.raises(isochat.UnsupportedParameterError, match=r"does not carry seed.*speaks chat completions"):
        responses("raise").chat("Hi", seed=1)

    assert workspace.requests == []


def test_chat_completions_refuse_what_only_responses_carry(make_client: Make, workspace: Workspace) -> None:
    image = {"type": "input_image", "file_id": "file-1"}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}]

    with pytest.raises(isochat.UnsupportedParameterError, match=r"content\[0\].*file_id.*speaks the Responses API"):
        make_client("rest", workspace).chat(messages)
    result = make_client("rest", workspace, on_unsupported="drop").chat(messages)

    assert [request.json()["messages"][0]["content"] for request in workspace.requests] == ["What?"]
    assert "dropped messages[0].content[0]" in result.meta.warnings[0]


@pytest.mark.parametrize(
    ("block", "path"),
    [
        ({"type": "input_image", "image_url": "https://x/y.png", "file_id": "file-1"}, "file_id"),
        ({"type": "input_file", "file_id": "file-1", "file_url": "https://x/y.pdf"}, "file_url"),
        ({"type": "input_text", "text": "Hi", "x_new": 1}, "x_new"),
    ],
)
def test_a_field_without_counterpart_is_refused(make_client: Make, workspace: Workspace, block: Any, path: str) -> None:
    with pytest.raises(isochat.UnsupportedParameterError, match=rf"messages\[0\]\.content\[0\]\.{path}"):
        make_client("rest", workspace).chat([{"role": "user", "content": [block]}])

    assert workspace.requests == []


def test_nulls_of_a_clients_own_objects_are_no_fields(make_client: Make, workspace: Workspace) -> None:
    block = {"type": "input_image", "image_url": "https://x/y.png", "file_id": None, "detail": "auto"}

    make_client("rest", workspace).chat([{"role": "user", "content": [block]}])

    (sent,) = workspace.requests[0].json()["messages"][0]["content"]
    assert sent == {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}}
