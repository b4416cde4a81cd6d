"""Whatever the answer and however a server cuts it into events: is the folded stream equal to the plain reply?"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_bytes import calls_of, fold, read, reasoning_of, sse, text_of

from isochat.results import Meta
from isochat.wire_format.agents import read_chat_agent
from isochat.wire_format.chat_completions import read_completion
from isochat.wire_format.responses import read_response

MANY = settings(deadline=None, database=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])

randoms = st.randoms(use_true_random=False)
texts = st.text(st.sampled_from('ab \n{"\\é😀\u2028\u0085'), min_size=1, max_size=12)
names = st.text("fg_", min_size=1, max_size=4)
jsons = st.dictionaries(st.sampled_from("xyz"), st.integers() | texts, max_size=2).map(json.dumps)
citations = st.lists(st.fixed_dictionaries({"cited_text": texts}), max_size=2)
counts = st.none() | st.integers(0, 99)
usages = st.none() | st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts, "total_tokens": counts},
    optional={"prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": counts})},
)
tokens = st.lists(st.fixed_dictionaries({"token": texts, "logprob": st.just(-0.5)}), max_size=3)


def cut(random: Random, text: str) -> list[str]:
    """``text`` in pieces, some of them empty."""
    places = sorted(random.randint(0, len(text)) for _ in range(random.randint(0, 3)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def merged(random: Random, queues: list[list[Any]]) -> list[Any]:
    """The queues interleaved, each in its own order."""
    queues, out = [queue for queue in queues if queue], []
    while queues:
        queue = random.choice(queues)
        out.append(queue.pop(0))
        queues = [queue for queue in queues if queue]
    return out


# ---------------------------------------------------------------------------------------------- chat completions

summaries = st.builds(
    lambda text, signature: {"type": "summary_text", "text": text, **({"signature": signature} if signature else {})},
    texts, st.sampled_from(["", "S", "Z"]),
) | st.builds(lambda data: {"type": "summary_encrypted_text", "data": data}, texts)  # fmt: skip
thoughts = st.lists(summaries, min_size=1, max_size=3).map(lambda entries: {"type": "reasoning", "summary": entries})
words = st.builds(
    lambda text, found: {"type": "text", "text": text, **({"citations": found} if found else {})}, texts, citations
)
others = st.sampled_from([{"type": "image", "image_url": "https://x/y"}, {"type": "odd", "x": 1}])


def without_neighbours(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what a stream cannot tell apart: neighbours of one type, unless the first is signed thinking."""
    kept: list[dict[str, Any]] = []
    for block in blocks:
        signed = kept and kept[-1]["type"] == "reasoning" and kept[-1]["summary"][-1].get("signature")
        if not kept or kept[-1]["type"] != block["type"] or signed:
            kept.append(block)
    return kept


calls = st.builds(
    lambda its_id, name, arguments, extra: {
        "id": its_id, "type": "function", "function": {"name": name, "arguments": arguments}, **extra
    },
    st.uuids().map(str), names, jsons, st.sampled_from([{}, {"thoughtSignature": "S"}]),
)  # fmt: skip
messages = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": st.none()
        | texts
        | st.lists(thoughts | words | others, min_size=1, max_size=4).map(without_neighbours),
    },
    optional={
        "reasoning_content": texts,
        "refusal": texts,
        "tool_calls": st.lists(calls, min_size=1, max_size=3),
    },
).filter(lambda message: not ("reasoning_content" in message and isinstance(message["content"], list)))
completions = st.builds(
    lambda choices, usage: {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
        "choices": [
            {"index": i, "message": message, "finish_reason": reason, "logprobs": {"content": found} if found else None}
            for i, (message, reason, found) in enumerate(choices)
        ],
    },
    st.lists(
        st.tuples(messages, st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"]), tokens),
        min_size=1, max_size=3,
    ),
    usages,
)  # fmt: skip


def content_deltas(random: Random, content: Any) -> list[Any]:
    if content is None:
        return []
    if isinstance(content, str):
        return cut(random, content)
    deltas: list[Any] = []
    for block in content:
        if block["type"] == "text":
            deltas += [[{"type": "text", "text": piece}] for piece in cut(random, block["text"])]
            deltas += [[{"type": "text", "text": "", "citations": [one]}] for one in block.get("citations", ())]
        elif block["type"] == "reasoning":
            deltas += thinking_deltas(random, block["summary"])
        else:
            deltas.append([block])
    return deltas


def thinking_deltas(random: Random, entries: list[dict[str, Any]]) -> list[Any]:
    """One delta after the other; where an unsigned summary ends, the next one begins in the same delta."""
    deltas: list[list[dict[str, Any]]] = []
    joined = False
    for entry in entries:
        if entry["type"] == "summary_text":
            pieces = [{"type": "summary_text", "text": piece} for piece in cut(random, entry["text"])]
            if "signature" in entry:
                pieces.append({"type": "summary_text", "text": "", "signature": entry["signature"]})
        else:
            pieces = [entry]
        if joined:
            deltas[-1].append(pieces.pop(0))
        deltas += [[piece] for piece in pieces]
        joined = entry["type"] == "summary_text" and "signature" not in entry
    return [[{"type": "reasoning", "summary": summary}] for summary in deltas]


def call_deltas(random: Random, tool_calls: list[dict[str, Any]]) -> list[Any]:
    indexed, repeated = random.random() < 0.7, random.random() < 0.3
    queues = []
    for index, call in enumerate(tool_calls):
        head = {key: value for key, value in call.items() if key in ("id", "type")}
        rest = {key: value for key, value in call.items() if key not in ("id", "type", "function")}
        place = {"index": index} if indexed else {}
        pieces = cut(random, call["function"]["arguments"])
        queue = [{**place, **head, "function": {"name": call["function"]["name"], "arguments": pieces[0]}}]
        for piece in pieces[1:]:
            again = {**head, "function": {"name": call["function"]["name"], "arguments": piece}}
            queue.append({**place, **(again if repeated else {"function": {"arguments": piece}})})
        queue[-1].update(rest)
        queues.append(queue)
    ordered = merged(random, queues) if indexed or repeated else [piece for queue in queues for piece in queue]
    deltas: list[list[Any]] = []
    for piece in ordered:
        if deltas and random.random() < 0.3:
            deltas[-1].append(piece)
        else:
            deltas.append([piece])
    # Calls keep the order in which they begin.
    begun = [piece["id"] for delta in deltas for piece in delta if "id" in piece]
    tool_calls.sort(key=lambda call: begun.index(call["id"]))
    return deltas


def choice_chunks(random: Random, choice: dict[str, Any]) -> list[dict[str, Any]]:
    message = choice["message"]
    opens_empty = random.random() < 0.5 and (message["content"] or message.keys() & {"tool_calls", "refusal"})
    deltas: list[dict[str, Any]] = [{"role": "assistant", **({"content": ""} if opens_empty else {})}]
    deltas += [{"reasoning_content": piece} for piece in cut(random, message.get("reasoning_content", ""))]
    deltas += [{"content": piece} for piece in content_deltas(random, message["content"])]
    deltas += [{"refusal": piece} for piece in cut(random, message.get("refusal", ""))]
    deltas += [{"tool_calls": pieces} for pieces in call_deltas(random, message.get("tool_calls", []))]
    chunks = [{"index": choice["index"], "delta": delta, "finish_reason": None, "logprobs": None} for delta in deltas]
    for token in (choice["logprobs"] or {}).get("content", ()):
        chunk = random.choice(chunks)
        chunk["logprobs"] = {"content": [*(chunk["logprobs"] or {}).get("content", ()), token]}
    told = [token for chunk in chunks for token in (chunk["logprobs"] or {}).get("content", ())]
    if told:
        choice["logprobs"] = {"content": told}
    if random.random() < 0.5:
        chunks.append({"index": choice["index"], "delta": {}})
    chunks[-1]["finish_reason"] = choice["finish_reason"]
    return chunks


def completion_events(random: Random, plain: dict[str, Any]) -> list[dict[str, Any]]:
    """``plain`` as a stream; changes in it what streams may say in another order."""
    choices = merged(random, [choice_chunks(random, choice) for choice in plain["choices"]])
    head = {key: plain[key] for key in ("id", "created", "model")}
    events = [{**head, "object": "chat.completion.chunk", "choices": [choice]} for choice in choices]
    usage = plain["usage"]
    match random.choice(["every", "last", "own"]):
        case "every":
            for event in events[:-1]:
                event["usage"] = None if usage is None else {**usage, "completion_tokens": None}
            events[-1]["usage"] = usage
        case "last":
            events[-1]["usage"] = usage
        case "own":
            events.append({**head, "choices": random.choice([[], None]), "usage": usage})
    for event in events[1:]:
        if random.random() < 0.3:
            event.update(id=None, model=None)
    for _ in range(random.randint(0, 2)):
        events.insert(random.randint(1, len(events)), random.choice([{"choices": []}, {"choices": None}, {}, {"x": 1}]))
    return events


@MANY
@given(completions, randoms)
def test_a_cut_completion_folds_into_itself(plain, random):
    events = completion_events(random, plain)
    result, chunks, _ = read([sse(*events, "[DONE]")])

    assert result == read_completion(plain)
    for choice in result.choices:
        assert text_of(chunks, choice.index) == (choice.message.content or "")
        assert (reasoning_of(chunks, choice.index) or "") == (choice.message.reasoning or "")
        calls = [(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls]
        assert calls_of(chunks, choice.index) == calls


# ---------------------------------------------------------------------------------------------- Responses

output_texts = st.builds(
    lambda text, notes: {"type": "output_text", "text": text, "annotations": notes}, texts, citations
)
spoken = st.builds(
    lambda content: {"type": "message", "role": "assistant", "content": content},
    st.lists(
        output_texts | st.builds(lambda text: {"type": "refusal", "refusal": text}, texts), min_size=1, max_size=2
    ),
)
pondered = st.builds(
    lambda summary, content, secret: {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summary],
        **({"content": [{"type": "reasoning_text", "text": text} for text in content]} if not summary else {}),
        **({"encrypted_content": secret} if secret else {}),
    },
    st.lists(texts, max_size=2), st.lists(texts, max_size=2), st.sampled_from([None, "xyz"]),
)  # fmt: skip
called = st.builds(
    lambda name, arguments: {"type": "function_call", "name": name, "arguments": arguments}, names, jsons
)
custom = st.builds(lambda name, text: {"type": "custom_tool_call", "name": name, "input": text}, names, texts)
answered = st.builds(lambda text: {"type": "function_call_output", "call_id": "call-0", "output": text}, texts)
outputs = st.lists(spoken | pondered | called | custom | answered, min_size=1, max_size=4)
endings = st.sampled_from(["completed", "incomplete", None])


def with_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items with ids of their own, as the service gives them."""
    return [
        {"id": f"item-{i}", **({"call_id": f"call-{i}"} if "call" in item["type"] else {}), **item}
        for i, item in enumerate(items)
    ]


def opened(item: dict[str, Any]) -> dict[str, Any]:
    """The item as its ``added`` event shows it."""
    empty = {"content": [], "summary": [], "arguments": "", "input": "", "encrypted_content": None}
    return {key: empty.get(key, value) for key, value in item.items()}


def item_deltas(random: Random, item: dict[str, Any]) -> list[dict[str, Any]]:
    def pieces(kind: str, text: str, **places: int) -> list[dict[str, Any]]:
        return [{"type": f"response.{kind}.delta", "delta": piece, **places} for piece in cut(random, text)]

    match item["type"]:
        case "message":
            return [
                event
                for i, part in enumerate(item["content"])
                for event in (
                    pieces("output_text", part["text"], content_index=i)
                    if part["type"] == "output_text"
                    else pieces("refusal", part["refusal"], content_index=i)
                )
            ]
        case "reasoning":
            summary, content = item["summary"], item.get("content", ())
            told = [pieces("reasoning_summary_text", s["text"], summary_index=i) for i, s in enumerate(summary)]
            told += [pieces("reasoning_text", s["text"], content_index=i) for i, s in enumerate(content)]
            return [event for events in told for event in events]
        case "function_call":
            return pieces("function_call_arguments", item["arguments"])
        case "custom_tool_call":
            return pieces("custom_tool_call_input", item["input"])
    return []


def item_events(random: Random, place: int, item: dict[str, Any], placed: bool) -> list[dict[str, Any]]:
    where = {"output_index": place} if placed else {}
    events: list[dict[str, Any]] = []
    if random.random() < 0.8:
        events.append({"type": "response.output_item.added", **where, "item": opened(item)})
        events += [{**event, **where, "item_id": item["id"]} for event in item_deltas(random, item)]
    return [*events, {"type": "response.output_item.done", **where, "item": item}]


def response_events(random: Random, plain: dict[str, Any]) -> list[dict[str, Any]]:
    """``plain`` as the service streams it: announced, item by item (or not all of them), the whole at the end."""
    begun = {**plain, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events = [{"type": "response.created", "response": begun}, {"type": "response.in_progress", "response": begun}]
    queues = [
        item_events(random, place, item, placed=True)
        for place, item in enumerate(plain["output"])
        if random.random() < 0.9  # the last event tells of those that no other has told of
    ]
    events += merged(random, queues) if random.random() < 0.3 else [event for queue in queues for event in queue]
    kind = "incomplete" if plain["status"] == "incomplete" else "completed"
    return [*events, {"type": f"response.{kind}", "response": plain}]


@MANY
@given(outputs, endings, usages, randoms)
def test_a_cut_response_folds_into_itself(output, status, usage, random):
    plain = {
        "id": "r", "object": "response", "created_at": 1.5, "model": "m", "status": status, "output": with_ids(output),
        "usage": usage and {"input_tokens": usage["prompt_tokens"]},
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
    }  # fmt: skip
    events = response_events(random, plain)

    assert fold(*events, api="responses") == read_response(plain)


@MANY
@given(outputs, randoms, st.booleans())
def test_a_response_that_an_agent_tells_folds_into_its_items(output, random, placed):
    items = with_ids(output)
    events = [event for place, item in enumerate(items) for event in item_events(random, place, item, placed)]
    result, chunks, _ = read([sse(*events, "[DONE]")])

    assert result == read_response({"output": items})
    assert text_of(chunks) == "".join(
        part["text"]
        for item in items
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )


# ---------------------------------------------------------------------------------------------- ChatAgent


agent_messages = st.lists(
    st.builds(lambda text: {"role": "assistant", "content": text}, texts)
    | st.builds(lambda call: {"role": "assistant", "content": "", "tool_calls": [call]}, calls)
    | st.builds(lambda text: {"role": "tool", "name": "f", "content": text, "tool_call_id": "x"}, texts),
    min_size=1,
    max_size=4,
)


@MANY
@given(agent_messages, usages, randoms)
def test_a_cut_reply_of_an_agent_folds_into_itself(messages, usage, random):
    plain = {"id": "a", "usage": usage, "messages": [{**m, "id": f"m-{i}"} for i, m in enumerate(messages)]}
    events: list[dict[str, Any]] = []
    for message in plain["messages"]:
        for piece in cut(random, message["content"]):
            events.append({"id": "a", "delta": {**message, "content": piece}})
            message = {key: value for key, value in message.items() if key != "tool_calls"}
    events[-1]["usage"] = usage

    assert fold(*events, "[DONE]") == read_chat_agent(plain, Meta())
