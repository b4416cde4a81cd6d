"""Whatever of an item's events a server leaves out: is what the others say in the folded response?

A response's text comes in deltas, whole in the piece's own ``done`` event, again in the part around it, in the item's
``done`` event and in the response at the end. Servers leave out one or the other; the last two are left out here.
"""

from __future__ import annotations

from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_bytes import calls_of, read, reasoning_of, sse, text_of
from test_generated_streams import MANY, citations, cut, jsons, merged, names, randoms, texts, tokens

from isochat.streaming.item_events import DELTAS
from isochat.streaming.items import CALLS
from isochat.wire_format.responses import read_response

output_texts = st.builds(
    lambda text, notes, found: {"type": "output_text", "text": text, "annotations": notes, "logprobs": found},
    texts, citations, tokens,
)  # fmt: skip
refusals = st.builds(lambda text: {"type": "refusal", "refusal": text}, texts)
unknown = st.just({"type": "output_image", "url": "https://x/y"})
messages = st.builds(
    lambda content: {"type": "message", "role": "assistant", "status": "completed", "content": content},
    st.lists(output_texts | refusals | unknown, min_size=1, max_size=3),
)
thoughts = st.builds(
    lambda summary, content: {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        "content": [{"type": "reasoning_text", "text": text} for text in content],
    },
    st.lists(texts, min_size=1, max_size=2), st.lists(texts, max_size=2),
)  # fmt: skip
calls = st.builds(lambda name, told: {"type": "function_call", "name": name, "arguments": told}, names, jsons)
custom = st.builds(lambda name, text: {"type": "custom_tool_call", "name": name, "input": text}, names, texts)
hosted = st.builds(
    lambda told: {"type": "mcp_call", "name": "f", "server_label": "s", "arguments": told, "status": "completed"}, jsons
) | st.builds(
    lambda code: {"type": "code_interpreter_call", "container_id": "c", "code": code, "status": "completed"}, texts
)  # fmt: skip
outputs = st.lists(messages | thoughts | calls | custom | hosted, min_size=1, max_size=4)

WRITTEN = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
    "mcp_call": ("mcp_call_arguments", "arguments"),
    "code_interpreter_call": ("code_interpreter_call_code", "code"),
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def text_events(random: Random, kind: str, field: str, text: str, part_done: Any = None) -> list[dict[str, Any]]:
    """What tells of one text: one of its three ways at least."""
    ways = random.sample(["deltas", "whole", *(["part"] if part_done else [])], random.randint(1, 2))
    told = [event(f"{kind}.delta", delta=piece) for piece in cut(random, text)] if "deltas" in ways else []
    told += [event(f"{kind}.done", **{field: text})] if "whole" in ways else []
    return [*told, part_done] if "part" in ways else told


def part_events(random: Random, part: dict[str, Any]) -> list[dict[str, Any]]:
    if part["type"] == "output_image":
        return [event("content_part.done", part=part)]
    begun = [event("content_part.added", part={**part, "text": "", "annotations": [], "logprobs": []})]
    if part["type"] == "refusal":
        told = text_events(random, "refusal", "refusal", part["refusal"], event("content_part.done", part=part))
        return told if random.random() < 0.5 else [event("content_part.added", part={**part, "refusal": ""}), *told]
    whole = random.choice([part, {**part, "annotations": [], "logprobs": []}])
    told = text_events(random, "output_text", "text", part["text"], event("content_part.done", part=whole))
    if whole is not part or told[-1]["type"] != "response.content_part.done":
        first = random.randint(0, len(told) - 1)  # the part's own event is the last
        for note in reversed(part["annotations"]):
            told.insert(first, event("output_text.annotation.added", annotation=note))
        texts = [one for one in told if one["type"].startswith("response.output_text.d")]
        if texts:
            for token in part["logprobs"]:
                texts[0].setdefault("logprobs", []).append(token)
        else:
            told[-1]["part"] = {**whole, "logprobs": part["logprobs"]}
    return told if random.random() < 0.5 else [*begun, *told]


def item_events(random: Random, item: dict[str, Any]) -> list[dict[str, Any]]:
    match item["type"]:
        case "message":
            told = [[{**e, "content_index": i} for e in part_events(random, p)] for i, p in enumerate(item["content"])]
            return merged(random, told)
        case "reasoning":
            told = [
                [{**e, "summary_index": i} for e in
                 text_events(random, "reasoning_summary_text", "text", part["text"],
                             event("reasoning_summary_part.done", part=part))]
                for i, part in enumerate(item["summary"])
            ] + [
                [{**e, "content_index": i} for e in
                 text_events(random, "reasoning_text", "text", part["text"], event("content_part.done", part=part))]
                for i, part in enumerate(item["content"])
            ]  # fmt: skip
            return [one for events in told for one in events]
    kind, field = WRITTEN[item["type"]]
    told = text_events(random, kind, field, item[field])
    tool = item["type"]
    return [*told, event(f"{tool}.completed")] if "status" in item else told


def opened(item: dict[str, Any]) -> dict[str, Any]:
    """The item as its ``added`` event shows it."""
    empty = {"content": [], "summary": [], "arguments": "", "input": "", "code": "", "status": "in_progress"}
    return {key: empty.get(key, value) for key, value in item.items()}


@MANY
@given(outputs, randoms, st.booleans())
def test_what_any_event_says_is_in_the_folded_response(output, random, placed):
    items = [{"id": f"i-{i}", **({"call_id": f"call-{i}"} if item["type"] in CALLS else {}), **item}
             for i, item in enumerate(output)]  # fmt: skip
    told: list[dict[str, Any]] = [event("created", response={"id": "r", "status": "in_progress", "output": []})]
    queues = []
    for place, item in enumerate(items):
        where = {"item_id": item["id"], **({"output_index": place} if placed else {})}
        announced = not placed or item["type"] in WRITTEN or random.random() < 0.7
        queue = [event("output_item.added", item=opened(item), **where)] if announced else []
        queues.append([*queue, *({**e, **where} for e in item_events(random, item))])
    told += merged(random, queues) if placed else [one for queue in queues for one in queue]
    plain = {"id": "r", "status": "completed", "output": items}
    end = random.choice([{**plain, "output": []}, {**plain, "output": None}, {"id": "r", "status": "completed"}])
    result, chunks, _ = read([sse(*told, event("completed", response=end))], api="responses")

    whole = read_response(plain)
    assert result == whole
    assert sorted(text_of(chunks)) == sorted(
        "".join(part.get("text", "") for item in items if item["type"] == "message" for part in item["content"])
    )
    assert sorted(reasoning_of(chunks) or "") == sorted(whole.message.reasoning or "")
    said = [(c.id, c.function.name, c.function.arguments) for c in whole.message.tool_calls]
    assert sorted(calls_of(chunks)) == sorted(said)


def test_a_call_is_named_by_its_own_done_event_where_no_other_tells():
    events = [
        event("function_call_arguments.delta", output_index=0, item_id="f", delta='{"a":'),
        event("function_call_arguments.done", output_index=0, item_id="f", name="g", arguments='{"a":1}'),
        event("completed", response={"status": "completed", "output": []}),
    ]
    result, chunks, _ = read([sse(*events)], api="responses")
    (call,) = result.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("f", "g", '{"a":1}')
    assert calls_of(chunks) == [("f", "g", '{"a":1}')]


@pytest.mark.parametrize("late", ["output_text.done", "content_part.done", "output_text.annotation.added"])
def test_an_event_behind_its_item_changes_nothing(late):
    item = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]}
    where = {"output_index": 0, "item_id": "m", "content_index": 0}
    said = {"text": "A", "part": {"type": "output_text", "text": "A"}, "annotation": {"type": "x"}}
    events = [
        event("output_item.done", output_index=0, item=item),
        event(late, **where, **said),
        event("completed", response={"status": "completed", "output": []}),
    ]
    result, chunks, _ = read([sse(*events)], api="responses")
    assert result == read_response({"status": "completed", "output": [item]})
    assert text_of(chunks) == "A"


# Of the events that the OpenAI package knows, those whose text is no part of a plain reply, and those of a shell that
# only OpenAI's own service has.
LEFT_IN_RAW = {"response.audio.delta", "response.audio.transcript.delta", "response.shell_call_command.delta",
               "response.shell_call_output_content.delta"}  # fmt: skip


def test_every_delta_that_openai_knows_is_folded():
    events = pytest.importorskip("openai.types.responses.response_stream_event")
    union = get_args(events.ResponseStreamEvent)[0]
    known = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(union)}
    assert {kind for kind in known if kind.endswith(".delta")} - LEFT_IN_RAW == set(DELTAS) & known
