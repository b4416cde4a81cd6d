"""Chat-completion streams in all shapes that have been seen, each with the plain reply of the same answer."""

from __future__ import annotations

from typing import Any

from stream_bytes import chunk, completion


def call(its_id: str | None, name: str, arguments: Any, **extra: Any) -> dict[str, Any]:
    return {"id": its_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra}


def pieces(*tool_calls: Any) -> Any:
    """A chunk with these pieces of tool calls."""
    return chunk({"tool_calls": list(tool_calls)})


def piece(index: Any, arguments: Any = None, its_id: str | None = None, name: str | None = None, **extra: Any) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    known = {key: value for key, value in (("index", index), ("id", its_id)) if value is not None}
    return {**known, **({"type": "function"} if its_id else {}), "function": function, **extra}


def thought(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text, **more}]}


def words(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def blocks(*content: Any, **delta: Any) -> Any:
    return chunk({"content": list(content), **delta})


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({}, "stop")
CALLED = chunk({}, "tool_calls")
TWO = [call("a", "f", '{"x":1}'), call("b", "g", '{"y":2}')]
CITATION = {"type": "char_location", "cited_text": "c", "document_index": 0, "start_char_index": 0, "end_char_index": 5}
USAGE = {"prompt_tokens": 15, "completion_tokens": 10, "total_tokens": 25}
TOKEN = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
ENCRYPTED = {"type": "summary_encrypted_text", "data": "xyz"}


def two_choices(*messages: Any, **fields: Any) -> Any:
    choices = [{"index": i, "message": m, "finish_reason": "stop"} for i, m in enumerate(messages)]
    return {**completion({}, **fields), "choices": choices}


SHAPES: dict[str, tuple[list[Any], Any]] = {
    # -- text
    "text in pieces": (
        [ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), STOP],
        completion({"content": "Hello"}),
    ),
    "text, role missing": ([chunk({"content": "A"}), STOP], completion({"content": "A"})),
    "text in the chunk of the reason": ([chunk({"content": "A"}, "length")], completion({"content": "A"}, "length")),
    "an answer of no words": ([ROLE, STOP], completion({"content": ""})),
    "no content at all": ([chunk({"role": "assistant", "content": None}), STOP], completion({"content": None})),
    "an unknown reason": ([ROLE, chunk({}, "eos")], completion({"content": ""}, "eos")),
    "an empty reason is none": (
        [chunk({"content": "A"}, ""), chunk({"content": "B"}, "stop")],
        completion({"content": "AB"}),
    ),
    "filtered": ([ROLE, chunk({}, "content_filter")], completion({"content": ""}, "content_filter")),
    "a whole message in place of a delta": (
        [
            {
                **chunk(),
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "A"}, "finish_reason": "stop"}],
            }
        ],
        completion({"content": "A"}),
    ),
    "unknown fields of a delta": (
        [
            chunk({"content": "A", "odd": "x", "isochat_parts": [1]}),
            chunk({"odd": {"y": 1}}, "stop", odd=3),
        ],
        completion({"content": "A"}),
    ),
    "audio": (
        [
            chunk({"content": "A", "audio": {"id": "x", "data": "AA", "transcript": "a"}}),
            chunk({"audio": {"data": "BB"}}, "stop"),
        ],
        completion({"content": "A", "audio": {"id": "x", "data": "AABB", "transcript": "a"}}),
    ),
    "lone surrogate": (
        [b'data: {"id":"c","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n', STOP],
        completion({"content": "\ud83d"}),
    ),
    # -- fields of the completion
    "id, model and time on some chunks only": (
        [
            {"id": None, "model": None, "created": None, "choices": chunk({"content": "A"})["choices"]},
            {"id": "c", "choices": []},
            {"model": "m", "created": 1, "choices": STOP["choices"]},
        ],
        completion({"content": "A"}),
    ),
    "an event before the first choice": (
        [{"id": "c", "usage": USAGE}, {}, chunk({"content": "A"}, "stop")],
        completion({"content": "A"}, usage=USAGE),
    ),
    "chunks without choices, with null, with odd ones": (
        [
            {"choices": None},
            ROLE,
            {"choices": None, "x": 1},
            {"choices": []},
            {"choices": "odd"},
            {"choices": [None, 3]},
            {"object": "chat.completion.chunk"},
            {"x": 2},
            chunk({"content": "A"}),
            STOP,
        ],
        completion({"content": "A"}),
    ),
    "choices without index": (
        [
            {**chunk(), "choices": [{"delta": {"content": "A"}}, {"delta": {"content": "B"}}]},
            {**chunk(), "choices": [{"delta": {}, "finish_reason": "stop"}, {"delta": None, "finish_reason": "stop"}]},
        ],
        two_choices({"content": "A"}, {"content": "B"}),
    ),
    "several choices out of order": (
        [
            chunk({"content": "B"}, index=1),
            chunk({"content": "A"}),
            chunk({"content": "b"}, "stop", 1),
            chunk({}, "stop"),
        ],
        two_choices({"content": "A"}, {"content": "Bb"}),
    ),
    "several choices in one chunk": (
        [{**chunk(), "choices": [chunk({"content": t}, "stop", i)["choices"][0] for i, t in ((1, "B"), (0, "A"))]}],
        two_choices({"content": "A"}, {"content": "B"}),
    ),
    # -- usage
    "usage on every chunk, growing": (
        [chunk({"content": "A"}, usage={**USAGE, "completion_tokens": 3}), chunk({}, "stop", usage=USAGE)],
        completion({"content": "A"}, usage=USAGE),
    ),
    "usage on the last chunk": (
        [chunk({"content": "A"}), STOP, {**chunk(), "choices": [], "usage": USAGE}],
        completion({"content": "A"}, usage=USAGE),
    ),
    "usage on a chunk with null choices": (
        [chunk({"content": "A"}), STOP, {**chunk(), "choices": None, "usage": USAGE}],
        completion({"content": "A"}, usage=USAGE),
    ),
    "usage with nulls": (
        [
            chunk({"content": "A"}, usage={"prompt_tokens": 15, "completion_tokens": None}),
            chunk({}, "stop", usage=USAGE),
            {**chunk(), "choices": [], "usage": {"prompt_tokens": None, "completion_tokens_details": None}},
        ],
        completion({"content": "A"}, usage=USAGE),
    ),
    "usage with details": (
        [
            chunk({"content": "A"}, usage={**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}),
            chunk(
                {},
                "stop",
                usage={"completion_tokens_details": {"reasoning_tokens": 5}, "prompt_tokens_details": {"x": 1}},
            ),
        ],
        completion(
            {"content": "A"},
            usage={
                **USAGE,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
        ),
    ),
    "usage that is none": ([chunk({"content": "A"}, "stop", usage=None)], completion({"content": "A"}, usage=None)),
    "usage of no object": ([chunk({"content": "A"}, "stop", usage="12")], completion({"content": "A"}, usage="12")),
    # -- reasoning
    "reasoning as text": (
        [chunk({"reasoning_content": "I "}), chunk({"reasoning_content": "think"}), chunk({"content": "A"}), STOP],
        completion({"reasoning_content": "I think", "content": "A"}),
    ),
    "reasoning and text in one delta": (
        [chunk({"reasoning_content": "T", "content": "A"}), STOP],
        completion({"reasoning_content": "T", "content": "A"}),
    ),
    "reasoning blocks, signed in a last empty piece": (
        [
            blocks(thought("I ")),
            blocks(thought("think")),
            blocks(thought("", signature="S")),
            blocks(words("A")),
            blocks(words("B")),
            STOP,
        ],
        completion({"content": [thought("I think", signature="S"), words("AB")]}),
    ),
    "reasoning after an empty text": (
        [ROLE, blocks(thought("T", signature="S")), blocks(words("A")), STOP],
        completion({"content": [thought("T", signature="S"), words("A")]}),
    ),
    "two signed blocks in a row": (
        [
            blocks(thought("1")),
            blocks(thought("", signature="S")),
            blocks(thought("2")),
            blocks(thought("", signature="Z")),
            blocks(words("A")),
            STOP,
        ],
        completion({"content": [thought("1", signature="S"), thought("2", signature="Z"), words("A")]}),
    ),
    "two signed blocks in one delta": (
        [blocks(thought("1", signature="S"), thought("2", signature="Z"), words("A")), STOP],
        completion({"content": [thought("1", signature="S"), thought("2", signature="Z"), words("A")]}),
    ),
    "several summaries in one block": (
        [
            blocks({"type": "reasoning", "summary": [thought("1")["summary"][0], thought("2")["summary"][0]]}),
            blocks(thought("3")),
            blocks(words("A")),
            chunk({"content": "B"}, "stop"),
        ],
        completion(
            {
                "content": [
                    {"type": "reasoning", "summary": [thought("1")["summary"][0], thought("23")["summary"][0]]},
                    words("AB"),
                ]
            }
        ),
    ),
    "encrypted reasoning": (
        [
            blocks({"type": "reasoning", "summary": [ENCRYPTED]}),
            blocks(thought("T", signature="S")),
            blocks(words("A")),
            STOP,
        ],
        completion(
            {"content": [{"type": "reasoning", "summary": [ENCRYPTED]}, thought("T", signature="S"), words("A")]}
        ),
    ),
    "encrypted reasoning after signed": (
        [
            blocks(thought("T", signature="S")),
            blocks({"type": "reasoning", "summary": [ENCRYPTED]}),
            blocks(words("A")),
            STOP,
        ],
        completion(
            {"content": [thought("T", signature="S"), {"type": "reasoning", "summary": [ENCRYPTED]}, words("A")]}
        ),
    ),
    "unsigned reasoning of gpt-oss": (
        [blocks(thought("a")), blocks(thought("b")), blocks(words("A")), STOP],
        completion({"content": [thought("ab"), words("A")]}),
    ),
    "reasoning as content of a block": (
        [blocks({"type": "reasoning", "content": [{"type": "reasoning_text", "text": t}]}) for t in "ab"] + [STOP],
        completion({"content": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "ab"}]}]}),
    ),
    "reasoning between texts": (
        [blocks(words("A")), blocks(thought("T")), blocks(words("B")), STOP],
        completion({"content": [words("A"), thought("T"), words("B")]}),
    ),
    # -- blocks
    "text after blocks as plain strings": (
        [blocks(thought("T")), chunk({"content": "A"}), chunk({"content": ""}), chunk({"content": "B"}, "stop")],
        completion({"content": [thought("T"), words("AB")]}),
    ),
    "blocks after text": (
        [chunk({"content": "A"}), blocks(words("B")), blocks({"type": "image", "image_url": "https://x/y"}), STOP],
        completion({"content": [words("AB"), {"type": "image", "image_url": "https://x/y"}]}),
    ),
    "strings among blocks": ([blocks("A", words("B"), "C"), STOP], completion({"content": [words("ABC")]})),
    "citations": (
        [blocks(words("A")), blocks(words("", citations=[CITATION])), blocks(words("", citations=[{"n": 2}])), STOP],
        completion({"content": [words("A", citations=[CITATION, {"n": 2}])]}),
    ),
    "citations after null ones": (
        [blocks(words("A", citations=None)), blocks(words("B", citations=[CITATION])), STOP],
        completion({"content": [words("AB", citations=[CITATION])]}),
    ),
    "a refusal in pieces": (
        [
            chunk({"role": "assistant", "content": "", "refusal": None}),
            chunk({"refusal": "I "}),
            chunk({"refusal": "can't"}),
            STOP,
        ],
        completion({"content": None, "refusal": "I can't"}),
    ),
    "a refusal block in pieces": (
        [blocks({"type": "refusal", "refusal": "I "}), blocks({"type": "refusal", "refusal": "can't"}), STOP],
        completion({"content": [{"type": "refusal", "refusal": "I can't"}]}),
    ),
    "unknown blocks": (
        [blocks({"type": "odd", "text": [1], "x": 1}), blocks({"type": "odd", "x": 2}), blocks({"x": 3}), STOP],
        completion({"content": [{"type": "odd", "text": [1], "x": 1}, {"type": "odd", "x": 2}, {"x": 3}]}),
    ),
    # -- tool calls
    "a call in one piece": (
        [pieces(piece(0, '{"x":1}', "a", "f")), CALLED],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "a call, id first, arguments whole": (
        [ROLE, pieces(piece(0, "", "a", "f")), pieces(piece(0, '{"x":1}')), CALLED],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "a call, arguments split, nulls beside them": (
        [
            pieces(piece(0, "", "a", "f")),
            pieces({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '{"x'}}),
            pieces(piece(0, '":1}')),
            CALLED,
        ],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "id only in the first piece, name in the next": (
        [
            pieces({"index": 0, "id": "a", "type": "function"}),
            pieces(piece(0, None, None, "f")),
            pieces(piece(0, '{"x":1}')),
            CALLED,
        ],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "id, type and name on each piece": (
        [pieces(piece(0, '{"x"', "a", "f")), pieces(piece(0, ":1}", "a", "f")), CALLED],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "an empty id on later pieces": (
        [pieces(piece(0, '{"x"', "a", "f")), pieces({**piece(0, ":1}"), "id": "", "type": ""}), CALLED],
        completion({"tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "arguments as an object": (
        [pieces(piece(0, {"x": 1}, "a", "f")), CALLED],
        completion({"tool_calls": [call("a", "f", {"x": 1})]}, "tool_calls"),
    ),
    "calls side by side in one delta": (
        [
            pieces(piece(0, "", "a", "f"), piece(1, "", "b", "g")),
            pieces(piece(0, '{"x":1}')),
            pieces(piece(1, '{"y":2}')),
            CALLED,
        ],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "calls interleaved": (
        [
            pieces(piece(0, '{"x"', "a", "f")),
            pieces(piece(1, '{"y"', "b", "g")),
            pieces(piece(0, ":1}"), piece(1, ":")),
            pieces(piece(1, "2}")),
            CALLED,
        ],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "calls without index": (
        [
            pieces(piece(None, '{"x"', "a", "f")),
            pieces(piece(None, ":1}")),
            pieces(piece(None, "", "b", "g")),
            pieces(piece(None, '{"y":2}')),
            CALLED,
        ],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "calls without index, ids on each piece, interleaved": (
        [
            pieces(piece(None, '{"x"', "a", "f")),
            pieces(piece(None, '{"y"', "b", "g")),
            pieces(piece(None, ":1}", "a")),
            pieces(piece(None, ":2}", "b")),
            CALLED,
        ],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "index 0 for every call": (
        [pieces(piece(0, '{"x":1}', "a", "f")), pieces(piece(0, '{"y"', "b", "g")), pieces(piece(0, ":2}")), CALLED],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "indexes from 1, with a gap": (
        [pieces(piece(1, '{"x":1}', "a", "f")), pieces(piece(7, '{"y":2}', "b", "g")), CALLED],
        completion({"tool_calls": TWO}, "tool_calls"),
    ),
    "a thought signature on the last piece": (
        [
            pieces(piece(0, "", "a", "f")),
            pieces(piece(0, '{"x":1}', thoughtSignature="S", extra_content={"google": 1})),
            CALLED,
        ],
        completion({"tool_calls": [{**TWO[0], "thoughtSignature": "S", "extra_content": {"google": 1}}]}, "tool_calls"),
    ),
    "a thought signature on the first piece, inside the function": (
        [
            pieces({**piece(0, None, "a"), "function": {"name": "f", "arguments": "", "thought_signature": "S"}}),
            pieces(piece(0, "{}")),
            CALLED,
        ],
        completion(
            {
                "tool_calls": [
                    {**call("a", "f", "{}"), "function": {"name": "f", "arguments": "{}", "thought_signature": "S"}}
                ]
            },
            "tool_calls",
        ),
    ),
    "a custom tool": (
        [
            pieces({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": ""}}),
            pieces({"index": 0, "custom": {"input": "select "}}),
            pieces({"index": 0, "custom": {"input": "1"}}),
            CALLED,
        ],
        completion(
            {"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}]},
            "tool_calls",
        ),
    ),
    "the older function_call": (
        [
            chunk({"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"x"'}}),
            chunk({"function_call": {"name": None, "arguments": ":1}"}}, "function_call"),
        ],
        completion({"content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}}, "function_call"),
    ),
    "text and a call": (
        [ROLE, chunk({"content": "A"}), pieces(piece(0, '{"x":1}', "a", "f")), CALLED],
        completion({"content": "A", "tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "reasoning and a call": (
        [blocks(thought("T")), blocks(thought("", signature="S")), pieces(piece(0, '{"x":1}', "a", "f")), CALLED],
        completion({"content": [thought("T", signature="S")], "tool_calls": TWO[:1]}, "tool_calls"),
    ),
    "no tool calls after all": (
        [chunk({"content": "A", "tool_calls": []}), STOP],
        completion({"content": "A", "tool_calls": []}),
    ),
    "tool calls that are none": (
        [chunk({"content": "A", "tool_calls": "odd"}), chunk({"tool_calls": [None, 3]}), STOP],
        completion({"content": "A"}),
    ),
    # -- logprobs
    "logprobs in pieces": (
        [
            {
                **chunk(),
                "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [TOKEN], "refusal": None}}],
            },
            {**chunk(), "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [TOKEN]}}]},
            {**chunk(), "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]},
        ],
        {
            **completion({}),
            "choices": [
                {
                    "index": 0,
                    "message": {"content": "aa"},
                    "finish_reason": "stop",
                    "logprobs": {"content": [TOKEN, TOKEN], "refusal": None},
                }
            ],
        },
    ),
}
