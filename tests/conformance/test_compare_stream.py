"""Is a stream measured and judged rightly: its chunks, their times, and whether it folds to the plain answer?"""

import json

import pytest

from isochat import Backend, Capabilities, Client, StreamReply, StreamTruncatedError
from isochat.transport.tap import recording
from isochat_conformance.compare import compare
from isochat_conformance.compare_stream import Streamed, Streaming, arrival, follow, hold_against_plain
from isochat_workspace import Endpoint, HttpReply, Replay, Workspace
from isochat_workspace import StreamReply as Played

EVENTS = {"content-type": "text/event-stream"}


def event(told):
    return f"data: {json.dumps(told)}\n\n".encode()


def said(text, finish_reason=None):
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    return event({"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


def whole(text):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return HttpReply(200, {"content-type": "application/json"}, json.dumps({"choices": [choice]}).encode())


def played(*pieces, **options):
    return Played(200, EVENTS, pieces, **options)


YES = played(said("y"), said("es"), said(None, "stop"), b"data: [DONE]\n\n")


@pytest.fixture
def replayed():
    with Workspace([]) as workspace:

        def client(backend, **replies):
            workspace.add(Endpoint("e", Replay(replies)))
            return Client(backend, endpoint="e", host=workspace.url, token=workspace.token)

        yield client


@pytest.mark.parametrize(
    ("plain", "streaming", "state", "says"),
    [
        ("yes", Streaming(plain=True, deterministic=True), "holds", ""),
        ("no", Streaming(plain=True, deterministic=True), "broken", ""),
        ("yes", Streaming(plain=True), "holds", ""),
        ("no", Streaming(plain=True), "not checked", "reads otherwise; this model need not say the same twice"),
        ("no", Streaming(), "not checked", "it was not asked again"),
    ],
)
def test_a_difference_from_the_plain_answer_counts_where_it_proves_something(replayed, plain, streaming, state, says):
    with replayed("rest", chat=[YES, whole(plain)]) as client:
        folded = client.chat("Hello", stream=True).result()
        law = hold_against_plain(client, "Hello", {}, folded, streaming)

    assert law.state == state
    assert says in law.reason
    assert [line.partition(":")[0] for line in law.differences] == (
        ["choices[0].message.content", "choices[0].message.parts[0].text"] if state == "broken" else []
    )


def test_a_broken_law_makes_the_row_different(replayed):
    found = compare(
        ["rest", "rest"],
        lambda backend: replayed(backend, chat=[YES, whole("no")]),
        "Hello",
        {},
        streaming=Streaming(plain=True, deterministic=True),
    )

    assert [row.state for row in found.rows] == ["different", "different"]
    assert [list(row.differences) for row in found.rows] == [[], []]


def test_a_plain_call_that_fails_is_said(replayed):
    refused = HttpReply(404, {"content-type": "application/json"}, b'{"error_code":"NOT_FOUND","message":"gone"}')
    with replayed("rest", chat=[YES, refused]) as client:
        folded = client.chat("Hello", stream=True).result()
        law = hold_against_plain(client, "Hello", {}, folded, Streaming(plain=True, deterministic=True))

    assert law.state == "not checked"
    assert law.reason.startswith("the plain call failed: ")
    assert "gone" in law.reason


def test_chunks_that_do_not_add_up_to_the_result_break_the_law_of_any_model(replayed):
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed"}
    done = {**item, "content": [{"type": "output_text", "text": "no", "annotations": []}]}
    response = {"id": "r", "object": "response", "model": "m", "status": "completed", "output": [done]}
    stream = played(
        event({"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}),
        event({"type": "response.output_text.delta", "output_index": 0, "item_id": "i", "delta": "yes"}),
        event({"type": "response.output_item.done", "output_index": 0, "item": done}),
        event({"type": "response.completed", "response": response}),
    )
    seen = Streamed()

    with replayed("openai-responses", responses=stream) as client, recording() as tape:
        result = follow(client, "Hello", {}, tape, seen)

    assert result.text == "no"
    assert seen.law.state == "broken"
    assert seen.law.differences == ("choices[0].message.content: 'no' != 'yes' (result != chunks)",)


def test_a_stream_that_breaks_is_measured_as_far_as_it_came(replayed):
    seen = Streamed()

    with (
        replayed("rest", chat=played(said("y"), said("es"), end="cut")) as client,
        recording() as tape,
        pytest.raises(StreamTruncatedError),
    ):
        follow(client, "Hello", {}, tape, seen)

    assert (seen.chunks, seen.with_text, seen.law.state, seen.law.reason) == (2, 2, "not checked", "the stream broke")
    assert seen.timing.first_chunk >= seen.timing.head > 0


@pytest.mark.parametrize(
    ("moments", "verdict"),
    [
        ([], "too few to tell"),
        ([1.0, 2.0], "too few to tell"),
        ([1.0 + 0.02 * i for i in range(64)], "as made"),
        ([1.0 + 0.00001 * i for i in range(64)], "together"),
        ([0.01 + 0.00001 * i for i in range(64)], "too quick to tell"),
        ([1.0 + 0.0005 * i for i in range(64)], "too quick to tell"),
    ],
)
def test_whether_chunks_were_held_back_is_read_from_their_times_as_far_as_it_can_be(moments, verdict):
    assert arrival(moments, asked=0.0) == verdict


class Alone(Backend):
    """A backend with a transport of its own."""

    name = "alone"
    capabilities = Capabilities(api="chat-completions", own_transport=True)

    def complete(self, request, wire):
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}


class AloneAndStreaming(Alone):
    capabilities = Capabilities(api="chat-completions", own_transport=True, streaming=True)

    def stream(self, request, wire):
        return StreamReply(status=200, headers=[], pieces=YES.pieces, client_call="alone.stream")


def test_a_backend_that_does_not_stream_is_not_applicable_and_sends_nothing():
    found = compare(
        ["alone"],
        lambda _: Client(Alone, endpoint="e", host="localhost", token="t"),
        "Hello",
        {},
        streaming=Streaming(),
    )

    [row] = found.rows
    assert (row.state, row.sent, row.stream.chunks) == ("not applicable", None, 0)
    assert "does not stream" in row.reason


def test_a_stream_that_never_was_on_the_wire_has_no_head_to_time():
    found = compare(
        ["alone"],
        lambda _: Client(AloneAndStreaming, endpoint="e", host="localhost", token="t"),
        "Hello",
        {},
        streaming=Streaming(plain=True, deterministic=True),
    )

    [row] = found.rows
    assert (row.state, row.result.text, row.stream.law.state) == ("same", "yes", "holds")
    assert (row.stream.timing.head, row.stream.timing.client) == (None, None)
    assert row.stream.timing.first_chunk > 0
