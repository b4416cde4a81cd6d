"""The forms of a call as a typed program writes them; mypy --strict reads this file, nobody runs it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, assert_type

import msgspec
import pydantic

import isochat

if TYPE_CHECKING:
    from isochat.transport.async_wire import AsyncWire
    from isochat.transport.wire import Wire


def client_forms() -> None:
    with isochat.Client("openai-chat", endpoint="e") as client:
        assert_type(client, isochat.Client)
        assert_type(client.capabilities, isochat.Capabilities)
    isochat.Client()
    isochat.Client(target="dev", config_file="isochat.toml", timeout=5, deadline=math.inf, max_retries=0)
    isochat.Client("rest", host="h", token="t", headers={"X-A": "1"}, on_unsupported="warn", auth_scheme="basic")


def call_forms(client: isochat.Client) -> None:
    assert_type(client.chat("Hi"), isochat.ChatResult)
    assert_type(client.chat("Hi", stream=False, max_tokens=5, temperature=0.5, stop=["a"]), isochat.ChatResult)
    assert_type(client.chat([{"role": "user", "content": "Hi"}], timeout=5, deadline=9.5), isochat.ChatResult)
    history: list[Mapping[str, Any] | isochat.Message] = [isochat.Message("user"), {"role": "user", "content": ""}]
    assert_type(client.chat(history, extra_headers={"X-A": "1"}, extra_body={"a": 1}), isochat.ChatResult)
    assert_type(isochat.chat("Hi", backend="rest", endpoint="e", max_tokens=5), isochat.ChatResult)


def stream_forms(client: isochat.Client, streaming: bool) -> None:
    stream = client.chat("Hi", stream=True, max_tokens=5)
    assert_type(stream, isochat.ChatStream)
    for chunk in stream:
        assert_type(chunk, isochat.ChatChunk)
        assert_type(chunk.text, str)
        assert_type(chunk.reasoning, str | None)
        assert_type(chunk.usage, isochat.Usage | None)
        for piece in chunk.tool_calls:
            assert_type(piece, isochat.ToolCallChunk)
            assert_type(piece.function.arguments, str)
    assert_type(stream.result(), isochat.ChatResult)
    assert_type(stream.partial, isochat.ChatResult)
    with client.chat("Hi", stream=True, stream_options={"include_usage": False}) as left_early:
        assert_type(left_early, isochat.ChatStream)
        assert_type(next(left_early), isochat.ChatChunk)
        iterator: Iterator[isochat.ChatChunk] = left_early
        print(iterator)
    assert_type(client.chat("Hi", stream=streaming), isochat.ChatResult | isochat.ChatStream)
    assert_type(isochat.chat("Hi", stream=True, endpoint="e"), isochat.ChatStream)
    assert_type(isochat.chat("Hi", stream=False, endpoint="e"), isochat.ChatResult)


async def async_forms(streaming: bool) -> None:
    async with isochat.Client("rest", endpoint="e") as client:
        assert_type(client, isochat.Client)
        assert_type(await client.achat("Hi", max_tokens=5), isochat.ChatResult)
        assert_type(await client.achat("Hi", stream=False), isochat.ChatResult)
        stream = await client.achat("Hi", stream=True)
        assert_type(stream, isochat.AsyncChatStream)
        async for chunk in stream:
            assert_type(chunk, isochat.ChatChunk)
        assert_type(await stream.result(), isochat.ChatResult)
        assert_type(stream.partial, isochat.ChatResult)
        async with await client.achat("Hi", stream=True) as left_early:
            assert_type(left_early, isochat.AsyncChatStream)
            iterator: AsyncIterator[isochat.ChatChunk] = left_early
            print(iterator)
        await stream.aclose()
        assert_type(await client.achat("Hi", stream=streaming), isochat.ChatResult | isochat.AsyncChatStream)
    await client.aclose()


@dataclass
class City:
    name: str


class Town(TypedDict):
    name: str


class Village(msgspec.Struct):
    name: str


class Hamlet(pydantic.BaseModel):
    name: str


def typed_answers(client: isochat.Client) -> None:
    for result in (
        client.chat("Hi", response_format=City),
        client.chat("Hi", response_format=Town),
        client.chat("Hi", response_format=Village),
        client.chat("Hi", response_format=Hamlet),
        client.chat("Hi", response_format=isochat.UNSET),
        client.chat("Hi", stream=True, response_format=City).result(),
    ):
        assert_type(result, isochat.ChatResult)
        assert_type(result.parsed, Any)


async def more_async_forms(client: isochat.Client, streaming: bool) -> None:
    answer = await client.achat(
        [isochat.Message("user", "Hi"), {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        extra_body={"output_config": {"effort": "low"}},
        extra_headers={"X-A": "1"},
        timeout=math.inf,
        deadline=1.5,
        max_retries=0,
        response_format=City,
        tools=None,
        seed=isochat.UNSET,
    )
    assert_type(answer, isochat.ChatResult)
    assert_type(await client.achat("Hi", stream=streaming, n=2), isochat.ChatResult | isochat.AsyncChatStream)
    assert_type(isochat.chat("Hi", stream=streaming, endpoint="e"), isochat.ChatResult | isochat.ChatStream)
    assert_type(isochat.chat("Hi", target="dev", response_format=City, on_unsupported="warn"), isochat.ChatResult)
    params: isochat.ChatParams = {"max_tokens": 5, "extra_headers": {"X-A": "1"}}
    assert_type(await client.achat("Hi", **params), isochat.ChatResult)
    assert_type(client.chat("Hi", **params), isochat.ChatResult)


class Streaming(isochat.Backend):
    """A backend with a transport of its own that does all four."""

    name = "streaming"
    capabilities = isochat.Capabilities(
        api="chat-completions", own_transport=True, streaming=True, asynchronous="native"
    )

    def complete(self, request: isochat.Request, wire: Wire) -> isochat.Reply:
        return isochat.Reply(status=200, headers=[], body=b"{}")

    def stream(self, request: isochat.Request, wire: Wire) -> isochat.StreamReply:
        return isochat.StreamReply(status=200, headers=[("x-request-id", "r")], pieces=iter([b"data: [DONE]\n\n"]))

    async def acomplete(self, request: isochat.Request, wire: AsyncWire) -> Mapping[str, Any]:
        return {"choices": []}

    async def astream(self, request: isochat.Request, wire: AsyncWire) -> isochat.StreamReply:
        async def pieces() -> AsyncIterator[Mapping[str, Any]]:
            yield {"choices": []}

        return isochat.StreamReply(status=200, headers=[], pieces=pieces(), delimited=False, client_call="mine.send")


class StreamingOverTheWire(isochat.Backend):
    """A backend that leaves the stream open on isochat's wire."""

    name = "over-the-wire"
    capabilities = isochat.Capabilities(api="chat-completions", streaming=True)

    def complete(self, request: isochat.Request, wire: Wire) -> isochat.Reply:
        body = wire.exchange("POST", "/", [], b"{}")
        return isochat.Reply(status=wire.status or 0, headers=wire.headers, body=body)

    def stream(self, request: isochat.Request, wire: Wire) -> None:
        wire.exchange("POST", "/", [], b"{}")


def every_parameter(client: isochat.Client, messages: list[dict[str, Any]]) -> None:
    result = client.chat(
        messages,
        max_tokens=1,
        temperature=isochat.UNSET,
        top_p=None,
        top_k=1,
        stop="x",
        n=1,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        reasoning_effort="low",
        thinking={"type": "adaptive"},
        logprobs=True,
        top_logprobs=2,
        seed=1,
        frequency_penalty=0.1,
        presence_penalty=0.1,
        logit_bias={"1": 2.0},
        user="u",
        stream_options={"include_usage": True},
        client_request_id="r",
        usage_context={"team": "search"},
        databricks_options={"return_trace": True},
        custom_inputs={"k": 1},
    )
    client.chat([*messages, result.to_message(), {"role": "tool", "tool_call_id": "c", "content": "42"}])
    assert_type(result.tool_calls[0].parse(), Any)
    isochat.Client("rest", endpoint="system.ai.x", route="auto")
    isochat.Client("mlflow", endpoint="e", served_model="m", api="responses")


def wrong_calls(client: isochat.Client) -> None:
    # With --warn-unused-ignores each of these must be an error.
    client.chat("Hi", max_token=5)  # type: ignore[call-overload]
    client.chat("Hi", max_tokens="5")  # type: ignore[call-overload]
    client.chat(5)  # type: ignore[call-overload]
    isochat.Client(5)  # type: ignore[arg-type]
    isochat.Client(on_unsupported="perhaps")  # type: ignore[arg-type]
    client.chat("Hi").id = "2"  # type: ignore[misc]
    client.chat("Hi", stream=1)  # type: ignore[call-overload]
    print(client.chat("Hi", stream=True).text)  # type: ignore[attr-defined]
    client.chat("Hi", True)  # type: ignore[call-overload]
    client.chat("Hi", response_format="json")  # type: ignore[call-overload]
    client.chat("Hi", extra_headers={"X-A": 1})  # type: ignore[dict-item]
    client.chat("Hi", extra_body=[1])  # type: ignore[call-overload]


async def wrong_async_calls(client: isochat.Client) -> None:
    print(client.achat("Hi").text)  # type: ignore[attr-defined]
    async for _ in client.achat("Hi", stream=True):  # type: ignore[attr-defined]
        pass
    for _ in await client.achat("Hi", stream=True):  # type: ignore[attr-defined]
        pass


def result_forms(result: isochat.ChatResult) -> None:
    assert_type(result.text, str)
    assert_type(result.reasoning, str | None)
    assert_type(result.tool_calls, tuple[isochat.ToolCall, ...])
    assert_type(result.choices[0].message.content, str | None)
    assert_type(result.usage, isochat.Usage | None)
    assert_type(result.meta.request_id, str | None)
    assert_type(result.meta.headers, Mapping[str, str])
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(isochat.ChatResult.from_dict(result.to_dict()), isochat.ChatResult)
    assert_type(isochat.diff(result, result), isochat.Diff)
    for part in result.message.parts:
        match part:
            case isochat.TextPart(text=text):
                assert_type(text, str)
            case isochat.ReasoningPart(signature=signature):
                assert_type(signature, str | None)
            case _:
                pass


def error_forms(error: isochat.ChatError) -> None:
    assert_type(error.status_code, int | None)
    assert_type(error.retryable, bool)
    assert_type(error.retry_after, float | None)
    if isinstance(error, isochat.ChatTimeoutError):
        assert_type(error.message, str)
