"""What is a result? Equality, hashing, text, repr, pickle, dictionaries and differences; and the public names."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import types
from typing import Any

import msgspec
import pytest

import isochat
from isochat import ChatResult, Choice, Function, Message, Meta, TextPart, ToolCall, Usage
from isochat.comparison import losses
from isochat.wire_format.replies import read_reply
from isochat_workspace import Workspace


def result(**changes: Any) -> ChatResult:
    """A result with every field set, some of them changed."""
    message = {
        "content": changes.pop("content", "Hello."),
        "reasoning": changes.pop("reasoning", None),
        "tool_calls": changes.pop("tool_calls", ()),
        "parts": changes.pop("parts", (TextPart("Hello."),)),
    }
    choice = {
        "finish_reason": changes.pop("finish_reason", "stop"),
        "raw_finish_reason": changes.pop("raw_finish_reason", "stop"),
        "logprobs": changes.pop("logprobs", None),
    }
    given = {"id": "1", "model": "m", "created": 5, "usage": Usage(1, 2, 3), "meta": Meta(backend="rest"), **changes}
    return ChatResult(choices=(Choice(message=Message(**message), **choice),), **given)


CALL = ToolCall(function=Function("f", "{}"))
SAME: dict[str, dict[str, Any]] = {
    "nothing changed": {},
    "another backend": {"meta": Meta(backend="mlflow", elapsed=5.0)},
    "another word for the same reason": {"raw_finish_reason": "completed"},
    "another wire form": {"parts": (TextPart("Hello.", wire={"type": "text"}),)},
}
OTHER: dict[str, dict[str, Any]] = {
    "id": {"id": "2"},
    "model": {"model": "n"},
    "created": {"created": 6},
    "content": {"content": "Bye."},
    "reasoning": {"reasoning": "Because."},
    "finish reason": {"finish_reason": "length"},
    "logprobs": {"logprobs": {"content": []}},
    "usage": {"usage": Usage(1, 2, 4)},
    "no usage": {"usage": None},
    "tool calls": {"tool_calls": (ToolCall(id="1", function=Function("f", "{}")),)},
    "parts": {"parts": (TextPart("Hel"), TextPart("lo."))},
}


@pytest.mark.parametrize("name", SAME)
def test_equal(name: str) -> None:
    assert result(**SAME[name]) == result()


@pytest.mark.parametrize("name", OTHER)
def test_not_equal(name: str) -> None:
    assert result(**OTHER[name]) != result()


def test_equal_to_nothing_else() -> None:
    assert result() != result().to_dict()
    assert TextPart("a") != isochat.RefusalPart("a")


@pytest.mark.parametrize("value", [result(), Message(), Usage(), TextPart("a"), ToolCall(function=Function("f"))])
def test_unhashable(value: Any) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        result().id = "2"  # type: ignore[misc]


@pytest.mark.parametrize(("content", "expected"), [("Hello.", "Hello."), ("", ""), (None, "")])
def test_text_is_always_text(content: Any, expected: str) -> None:
    assert (str(result(content=content)), result(content=content).text) == (expected, expected)


def test_a_stream_that_has_brought_nothing_yet_reads_as_nothing() -> None:
    nothing = isochat.ChatResult()

    assert (nothing.text, nothing.reasoning, nothing.tool_calls, nothing.finish_reason) == ("", None, (), None)
    assert (nothing.message, nothing.parsed) == (isochat.Message(), None)
    assert str(nothing) == ""


def test_repr_is_short() -> None:
    long = result(content="x" * 5000, parts=(TextPart("x" * 5000),) * 50)

    assert len(repr(long)) < 400
    assert repr(result()).startswith("ChatResult(id='1'")


def test_repr_leaves_out_what_is_not_set() -> None:
    assert repr(Message("user", "Hi")) == "Message(role='user', content='Hi')"


def test_pickle(backend: str, workspace: Workspace, make_client: Any) -> None:
    original = make_client(backend, workspace).chat("Hi")
    _ = original.meta.native
    copy = pickle.loads(pickle.dumps(original))

    assert copy == original
    assert (copy.meta.raw, copy.meta.headers) == (original.meta.raw, original.meta.headers)
    assert copy.meta.native is None


def test_a_copy_is_equal_in_its_meta_too(workspace: Workspace, make_client: Any) -> None:
    result = make_client("openai-chat", workspace).chat("Hi")
    again = pickle.loads(pickle.dumps(result))

    assert again.meta == result.meta
    assert (again.meta.raw, again.meta.native) == (result.meta.raw, None)
    assert copy.deepcopy(result).meta == result.meta


def test_raw_is_the_reply_as_it_came(backend: str, workspace: Workspace, make_client: Any) -> None:
    meta = make_client(backend, workspace).chat("Hi").meta

    assert meta.raw["object"] == ("response" if backend == "openai-responses" else "chat.completion")


def test_meta_in_full(backend: str, workspace: Workspace, make_client: Any) -> None:
    meta = make_client(backend, workspace, endpoint="databricks-gpt-5").chat("Hi").meta

    got = (meta.backend, meta.endpoint, meta.route, meta.status_code, meta.attempts, meta.warnings, meta.served_model)
    assert got == (backend, "databricks-gpt-5", "serving-endpoints", 200, 1, (), "gpt-5-2025-08-07")
    assert meta.request_id == meta.headers["x-request-id"] != ""
    assert meta.elapsed > 0


def test_five_results_are_the_same(workspace: Workspace, make_client: Any) -> None:
    names = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
    results = [make_client(n, workspace).chat(messages, max_tokens=6, temperature=0.1, top_p=0.5) for n in names]

    assert [isochat.diff(results[0], other) for other in results[1:]] == [[], [], [], []]
    assert results[0].finish_reason == "length"
    assert results[0].usage is not None
    assert results[0].usage.completion_tokens == 6


# ------------------------------------------------------------------------------------- diff and the loss list


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"id": "2", "created": 9, "model": "n", "meta": Meta()}, []),
        ({"raw_finish_reason": "completed"}, []),
        ({"content": "Bye."}, ["choices[0].message.content"]),
        ({"finish_reason": "length"}, ["choices[0].finish_reason"]),
        ({"usage": Usage(1, 2, 4)}, ["usage.total_tokens"]),
        ({"tool_calls": (ToolCall(function=Function("f", "{}")),)}, None),
    ],
)
def test_diff(changes: Any, paths: Any) -> None:
    found = [difference.path for difference in isochat.diff(result(), result(**changes))]

    assert found == paths if paths is not None else found


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"usage": Usage(1, 2, 3, reasoning_tokens=0)}, "usage.reasoning_tokens"),
        ({"usage": Usage(1, 2, 3, cache_read_tokens=1)}, "usage.cache_read_tokens"),
        ({"logprobs": {"content": [1]}}, "choices[0].logprobs"),
    ],
)
def test_what_one_protocol_does_not_report_is_no_difference(changes: Any, path: str) -> None:
    found = isochat.diff(result(), result(**changes))

    assert (list(found), found.not_reported) == ([], [path])


def test_a_null_among_log_probabilities_is_as_if_it_were_left_out() -> None:
    told, left_out = {"content": [{"token": "a"}], "refusal": None}, {"content": [{"token": "a"}]}

    assert isochat.diff(result(logprobs=told), result(logprobs=left_out)) == []
    assert isochat.diff(result(logprobs=told), result(logprobs={"content": [{"token": "b"}]})) != []


def test_tool_call_ids_are_numbered_by_order() -> None:
    def calls(*ids: str) -> ChatResult:
        return result(tool_calls=tuple(ToolCall(id=i, function=Function("f", "{}")) for i in ids))

    assert isochat.diff(calls("a", "b"), calls("x", "y")) == []
    assert isochat.diff(calls("a", "b"), calls("x", "x")) != []


def agent_turn(*, call: str, item: str, output: str = "12 C") -> list[dict[str, Any]]:
    """A ResponsesAgent's turn, and a ChatAgent's: a call, what the tool said, the answer."""
    said = {"type": "message", "id": f"msg_{item}", "content": [{"type": "output_text", "text": "Cold."}]}
    asked = {"type": "function_call", "id": f"fc_{item}", "call_id": call, "name": "f", "arguments": "{}"}
    told = {"type": "function_call_output", "id": f"fo_{item}", "call_id": call, "output": output}
    function = {"name": "f", "arguments": "{}"}
    asks = {"role": "assistant", "content": "", "id": f"m1_{item}", "tool_calls": [{"id": call, "function": function}]}
    tells = {"role": "tool", "content": output, "id": f"m2_{item}", "tool_call_id": call}
    return [{"output": [asked, told, said]}, {"messages": [asks, tells, {"role": "assistant", "content": "Cold."}]}]


@pytest.mark.parametrize("agent", [0, 1], ids=["ResponsesAgent", "ChatAgent"])
def test_the_ids_inside_an_agents_turn_are_numbered_by_order(agent: int) -> None:
    def turn(**changes: str) -> ChatResult:
        return read_reply(agent_turn(**changes)[agent], "chat-completions")

    assert isochat.diff(turn(call="a", item="1"), turn(call="x", item="2")) == []
    found = isochat.diff(turn(call="a", item="1"), turn(call="a", item="1", output="13 C"))
    assert len(found) == 1
    assert "13 C" in str(found)


def test_another_call_is_another_call_inside_an_agents_turn() -> None:
    def turn(*answered: str) -> ChatResult:
        asked = [{"type": "function_call", "call_id": c, "name": "f", "arguments": "{}"} for c in ("a", "b")]
        told = [{"type": "function_call_output", "call_id": c, "output": "1"} for c in answered]
        return read_reply({"output": [*asked, *told]}, "responses")

    assert isochat.diff(turn("a", "b"), turn("b", "a")) != []


def test_an_id_that_is_the_only_name_of_a_call_is_numbered() -> None:
    def turn(call: str) -> ChatResult:
        return read_reply({"output": [{"type": "mcp_call", "id": call, "name": "f", "output": "1"}]}, "responses")

    assert isochat.diff(turn("mcp_1"), turn("mcp_2")) == []
    assert isochat.diff(turn("mcp_1"), read_reply({"output": [{"type": "mcp_call", "name": "f"}]}, "responses")) != []


def test_the_id_of_an_item_that_is_no_call_names_nothing() -> None:
    def turn(**item: str) -> ChatResult:
        return read_reply({"output": [{"type": "mcp_list_tools", "server_label": "s", **item}]}, "responses")

    assert isochat.diff(turn(id="mcpl_1"), turn()) == []
    assert isochat.diff(turn(id="mcpl_1"), turn(id="mcpl_1", server_label="other")) != []


@pytest.mark.parametrize("name", ["call_id", "tool_call_id", "tool_use_id", "approval_request_id"])
def test_each_field_that_says_which_call_is_meant_is_numbered(name: str) -> None:
    def turn(*calls: str) -> ChatResult:
        return read_reply({"output": [{"type": "mcp_approval_response", name: call} for call in calls]}, "responses")

    assert isochat.diff(turn("a", "b"), turn("x", "y")) == []
    assert isochat.diff(turn("a", "b"), turn("x", "x")) != []


@pytest.mark.parametrize(
    ("ours", "theirs", "lost", "contradicted"),
    [
        ({}, {}, [], []),
        ({"finish_reason": "stop"}, {"finish_reason": None}, ["choices[0].finish_reason"], []),
        ({"finish_reason": "stop"}, {"finish_reason": "length"}, [], ["choices[0].finish_reason"]),
        ({"finish_reason": None}, {"finish_reason": "stop"}, [], ["choices[0].finish_reason"]),
        ({"content": None}, {"content": ""}, [], []),
        ({"content": ""}, {"content": None}, ["choices[0].message.content"], []),
        ({"usage": None}, {"usage": Usage(1)}, [], ["usage.prompt_tokens"]),
        (
            {"tool_calls": ()},
            {"tool_calls": (ToolCall(function=Function("f", "{}")),)},
            [],
            ["choices[0].message.tool_calls[0].function.name"],
        ),
    ],
)
def test_a_clients_object_lacks_or_contradicts(ours: Any, theirs: Any, lost: Any, contradicted: Any) -> None:
    """What it holds beyond the result is a contradiction too: isochat would have missed it."""
    found, contradictions = losses(result(**ours), result(**theirs))

    assert found == lost
    assert set(contradicted) <= {difference.path for difference in contradictions}
    assert bool(contradictions) == bool(contradicted)


def test_a_difference_reads_well() -> None:
    text = str(isochat.diff(result(), result(content="Bye.", parts=(TextPart("Hello."),))))

    assert text == "choices[0].message.content: 'Hello.' != 'Bye.'"
    assert str(isochat.diff(result(), result())) == "the same"


# -------------------------------------------------------------------------------------------------- tool calls


@pytest.mark.parametrize(("arguments", "expected"), [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", [1])])
def test_parse_arguments(arguments: str, expected: Any) -> None:
    assert ToolCall(function=Function("f", arguments)).parse() == expected


@pytest.mark.parametrize("arguments", ['{"a":', "f(1)", "'a'", pytest.param("[" * 100_000, id="deep")])
def test_arguments_that_are_no_json(arguments: str) -> None:
    with pytest.raises(isochat.ToolArgumentsError, match="'f'"):
        ToolCall(function=Function("f", arguments)).parse()


# ----------------------------------------------------------------------------------------------------- errors


def every_error() -> list[type[isochat.ChatError]]:
    return [v for v in vars(isochat).values() if isinstance(v, type) and issubclass(v, isochat.ChatError)]


@pytest.mark.parametrize("kind", every_error())
def test_an_error_pickles_without_its_cause(kind: type[isochat.ChatError]) -> None:
    more: dict[str, Any] = {"phase": "idle"} if kind is isochat.ChatTimeoutError else {}
    error = kind("It broke", remedy="Mend it", status_code=429, retry_after=5.0, attempts=2, retryable=True, **more)
    error.__cause__ = OSError("socket")
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), vars(copy), str(copy), copy.args) == (kind, vars(error), str(error), error.args)
    assert copy.__cause__ is None


def test_an_error_reads_well() -> None:
    error = isochat.RateLimitError(
        "the rate limit is reached: slow", remedy="Wait", status_code=429, code="X", endpoint="e", request_id="r"
    )

    assert str(error) == "the rate limit is reached: slow (status 429, code X, endpoint e, request id r). Wait"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    from isochat import errors

    lines = (errors.__doc__ or "").splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() == "ChatError")
    drawn: list[tuple[str, str]] = []
    above: dict[int, str] = {}
    for line in lines[start:]:
        if not line.strip():
            break
        depth, name = len(line) - len(line.lstrip()), line.split()[0]
        above[depth] = name
        if depth > 4:
            drawn.append((name, above[depth - 2]))
    real = [(kind.__name__, kind.__base__.__name__) for kind in every_error() if kind is not isochat.ChatError]

    assert sorted(drawn) == sorted(real)


# -------------------------------------------------------------------------------------------------- public names


def test_all_is_what_is_public() -> None:
    public = {n for n, v in vars(isochat).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}

    assert set(isochat.__all__) == public | {"__version__"}
    assert isochat.__all__ == sorted(isochat.__all__)


@pytest.mark.parametrize("name", [n for n in isochat.__all__ if callable(getattr(isochat, n))])
def test_public_names_have_docstrings(name: str) -> None:
    value = getattr(isochat, name)
    own = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__

    # pluggy's marker is an object whose class says what it is.
    assert own or name == "hookimpl"


@pytest.mark.parametrize("kind", [isochat.Client, isochat.ChatResult, isochat.Backend, isochat.Meta, isochat.ToolCall])
def test_public_methods_have_docstrings(kind: type) -> None:
    bare = [
        name
        for name, member in vars(kind).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
        if not inspect.getdoc(member)
    ]

    assert bare == []


def test_results_are_json() -> None:
    data = result(tool_calls=(ToolCall(id="1", function=Function("f", "{}"), extra={"x": 1}),)).to_dict()

    assert ChatResult.from_dict(json.loads(json.dumps(data))) == ChatResult.from_dict(data)
    assert msgspec.json.decode(msgspec.json.encode(data)) == json.loads(json.dumps(data))
