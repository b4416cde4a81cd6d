"""Does a stream give its connection back whichever way it is left, and keep its time?"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from stream_server import (
    HEAD,
    TIMEOUT,
    WORDS,
    events_for,
    first_event,
    http_chunk,
    in_pieces,
    many_words,
    streaming_backends,
    to_the_end,
    whole,
    written,
)

import isochat
from isochat.backend import Backend, Capabilities, Reply, StreamReply

pytestmark = pytest.mark.parametrize("backend", streaming_backends())


def first_text(stream: isochat.ChatStream) -> str:
    return next(chunk.text for chunk in stream if chunk.text)


def leave_by_close(stream: isochat.ChatStream) -> None:
    assert first_text(stream) == "Hi é"
    stream.close()


def leave_by_with(stream: isochat.ChatStream) -> None:
    with stream:
        assert first_text(stream) == "Hi é"


def leave_by_error(stream: isochat.ChatStream) -> None:
    with contextlib.suppress(ZeroDivisionError), stream:
        assert first_text(stream) == "Hi é"
        raise ZeroDivisionError


def leave_unread(stream: isochat.ChatStream) -> None:
    stream.close()


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_with, leave_by_error, leave_unread])
def test_leaving_early_ends_the_connection_at_once(backend, leave, departures, serve, make_client):
    server = serve(departures.streaming(first_event(backend)))
    client = make_client(backend, server, max_connections=1)
    for _ in range(2):  # the one place of the pool is free again
        leave(client.chat("Hi", stream=True))
        departures.wait()

    assert len(server.requests) == 2


def test_a_broken_off_loop_ends_the_connection_when_the_stream_is_collected(backend, departures, held):
    client = held()
    for _ in range(2):
        for chunk in client.chat("Hi", stream=True):
            if chunk.text:
                break
        gc.collect()
        departures.wait()


def test_a_stream_in_a_cycle_ends_its_connection_when_it_is_collected(backend, departures, held):
    client = held()
    for _ in range(2):
        holder: list[Any] = [client.chat("Hi", stream=True)]
        assert first_text(holder[0]) == "Hi é"
        holder.append(holder)
        del holder
        gc.collect()
        departures.wait()


def test_a_stream_that_nobody_keeps_ends_its_connection(backend, departures, held):
    client = held()
    for _ in range(2):
        client.chat("Hi", stream=True)
        gc.collect()
        departures.wait()


def test_a_stream_left_early_keeps_what_had_come_and_says_so(backend, held):
    client = held()
    stream = client.chat("Hi", stream=True)
    assert "open" in repr(stream)
    assert first_text(stream) == "Hi é"
    assert stream.partial.text == "Hi é"
    stream.close()
    stream.close()

    for again in (stream.result, stream.result, lambda: next(stream)):
        with pytest.raises(isochat.StreamTruncatedError) as caught:
            again()
        assert caught.value.partial.text == "Hi é"
        assert caught.value.backend == backend
        assert caught.value.partial.meta.backend == backend
    assert "failed" in repr(stream)
    assert stream.partial.text == "Hi é"


def test_the_result_after_some_chunks_is_the_whole_answer(backend, serve, make_client):
    body = whole(written([*events_for(backend), "[DONE]"]))
    client = make_client(backend, serve(lambda connection, server: connection.sendall(body)))
    with client.chat("Hi", stream=True) as stream:
        assert first_text(stream) == "Hi é"
        result = stream.result()

    assert result.text == "Hi é!"
    assert result.finish_reason == "stop"
    assert list(stream) == []
    assert stream.result() is result
    assert "ended" in repr(stream)


def test_an_error_is_raised_again_and_again(backend, serve, make_client):
    events = [*first_event(backend), *written([{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "busy"}])]
    client = make_client(backend, serve(lambda connection, server: connection.sendall(whole(events))))
    stream = client.chat("Hi", stream=True)
    assert first_text(stream) == "Hi é"

    for again in (lambda: next(stream), lambda: next(stream), stream.result):
        with pytest.raises(isochat.StreamFailedError, match="busy") as caught:
            again()
        assert caught.value.code == "TEMPORARILY_UNAVAILABLE"
        assert caught.value.partial.text == "Hi é"
        assert caught.value.endpoint == "any"


def test_chunks_that_came_with_the_failure_are_handed_out_before_it(backend, serve, make_client):
    body = HEAD + b"Content-Length: 5000\r\n\r\n" + b"".join(first_event(backend))
    stream = make_client(backend, serve(lambda c, server: c.sendall(body))).chat("Hi", stream=True)

    assert first_text(stream) == "Hi é"
    with pytest.raises(isochat.StreamTruncatedError) as caught:
        next(stream)
    assert isinstance(caught.value.__cause__, isochat.ConnectionLostError)


def test_a_stream_is_read_on_in_another_thread(backend, serve, make_client):
    body = whole(written([*events_for(backend), "[DONE]"]))
    stream = make_client(backend, serve(lambda c, server: c.sendall(body))).chat("Hi", stream=True)
    assert first_text(stream) == "Hi é"
    rest: list[str] = []
    reader = threading.Thread(target=lambda: rest.extend(chunk.text for chunk in stream))
    reader.start()
    reader.join(TIMEOUT)

    assert rest[0] == "!"
    assert stream.result().text == "Hi é!"


def test_another_thread_ends_a_stream_that_waits(backend, departures, held):
    stream = held().chat("Hi", stream=True)
    failures: list[isochat.ChatError] = []

    def read() -> None:
        try:
            list(stream)
        except isochat.ChatError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    assert departures.open.wait(TIMEOUT)
    stream.close()
    departures.wait()
    reader.join(TIMEOUT)

    assert not reader.is_alive()
    assert [type(failure) for failure in failures] == [isochat.StreamTruncatedError]


# ---------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize("every", [b"", b": ping\n\n", b"event: ping\ndata: {}\n\n", b'data: {"type": "ping"}\n\n'])
def test_silence_ends_a_stream_and_pings_are_silence(backend, every, departures, held):
    client = held(every=every)
    for _ in range(2):
        stream = client.chat("Hi", stream=True, timeout=0.3)
        with pytest.raises(isochat.ChatTimeoutError) as caught:
            list(stream)
        departures.wait()

        assert caught.value.phase == "idle"
        assert caught.value.partial.text == "Hi é"


def test_a_deadline_ends_a_stream_that_goes_on_and_on(backend, departures, held):
    again = first_event(backend)[-1]
    client = held(every=again)
    chunks = []
    with pytest.raises(isochat.ChatTimeoutError) as caught:
        chunks.extend(client.chat("Hi", stream=True, deadline=1.0))
    departures.wait()

    assert caught.value.phase == "body"
    assert "deadline" in caught.value.message
    assert caught.value.partial.text.startswith("Hi éHi é")


def test_a_caller_who_is_slow_between_chunks_does_not_time_out(backend, serve, make_client):
    begun, go_on = first_event(backend), threading.Event()
    rest = written(events_for(backend))[len(begun) :]

    def script(connection: Any, server: Any) -> None:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + http_chunk(b"".join(begun)))
        assert go_on.wait(TIMEOUT)
        connection.sendall(http_chunk(b"".join(rest)) + b"0\r\n\r\n")

    stream = make_client(backend, serve(script)).chat("Hi", stream=True, timeout=0.3)
    assert first_text(stream) == "Hi é"
    time.sleep(0.5)  # the slow caller
    go_on.set()

    assert stream.result().text == "Hi é!"


def test_a_large_event_that_comes_slowly_is_no_silence(backend, serve, make_client):
    pieces = written(events_for(backend))
    event = pieces[-1]
    slow = [event[i : i + len(event) // 8] for i in range(0, len(event), len(event) // 8)]

    def script(connection: Any, server: Any) -> None:
        head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"".join(map(http_chunk, pieces[:-1])))
        for piece in slow:
            server.over.wait(0.1)
            connection.sendall(http_chunk(piece))
        connection.sendall(b"0\r\n\r\n")

    stream = make_client(backend, serve(script)).chat("Hi", stream=True, timeout=0.5)

    assert stream.result().text == "Hi é!"


@pytest.mark.parametrize("every", [b"", b": ping\n\n"], ids=["silence", "pings"])
def test_a_server_that_keeps_the_connection_after_the_end_is_not_waited_for(backend, every, departures, held):
    client = held(to_the_end(backend), every)
    for _ in range(2):
        assert client.chat("Hi", stream=True).result().text == "Hi é!"
        departures.wait()


def test_a_connection_whose_reply_has_ended_is_used_again(backend, serve, make_client):
    reply = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    reply += b"".join(map(http_chunk, to_the_end(backend))) + b"0\r\n\r\n"

    def script(connection: Any, server: Any) -> str:
        connection.sendall(reply)
        return "keep"

    server = serve(script)
    client = make_client(backend, server)
    for _ in range(3):
        assert "".join(chunk.text for chunk in client.chat("Hi", stream=True)) == "Hi é!"
    assert server.connections == 1


# ---------------------------------------------------------------------------------------------- interruption


class Interrupted(Backend):
    """Streams by itself, and is interrupted as by Ctrl-C while the caller waits."""

    name = "interrupted"
    capabilities = Capabilities(api="chat-completions", own_transport=True, streaming=True)
    closed = 0

    def complete(self, request: Any, wire: Any) -> Reply:
        raise NotImplementedError

    def stream(self, request: Any, wire: Any) -> StreamReply:
        return StreamReply(status=200, headers=[], pieces=self.pieces())

    def pieces(self) -> Iterator[Any]:
        try:
            yield {"choices": [{"index": 0, "delta": {"content": "A"}}]}
            raise KeyboardInterrupt
        finally:
            type(self).closed += 1


def test_an_interruption_passes_as_it_is_and_leaves_nothing_open(backend, departures, serve, make_client, monkeypatch):
    from isochat.transport.reply import IncomingReply

    server = serve(departures.streaming(first_event(backend)))
    client = make_client(backend, server, max_connections=1)
    stream = client.chat("Hi", stream=True)
    assert first_text(stream) == "Hi é"
    with monkeypatch.context() as patched:

        def interrupted(self: Any) -> bytes:
            raise KeyboardInterrupt

        patched.setattr(IncomingReply, "read1", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    departures.wait()

    assert stream.partial.text == "Hi é"
    client.chat("Hi", stream=True).close()
    departures.wait()


def test_an_interruption_of_a_backend_of_its_own_transport_passes_too(backend, make_client):
    class Server:
        url, token = "http://127.0.0.1:9", "t"

    Interrupted.closed = 0
    stream = make_client(Interrupted, Server()).chat("Hi", stream=True)
    assert next(stream).text == "A"
    with pytest.raises(KeyboardInterrupt):
        next(stream)

    assert Interrupted.closed == 1
    with pytest.raises(isochat.StreamTruncatedError) as caught:
        stream.result()
    assert caught.value.partial.text == "A"


# ---------------------------------------------------------------------------------------------- stream_options

REFUSAL = b'{"error_code": "BAD_REQUEST", "message": "Bad request: json: unknown field \\"stream_options\\""}'
OTHER_REFUSAL = b'{"error_code": "BAD_REQUEST", "message": "Bad request: json: unknown field \\"top_k\\""}'


def refusing(backend: str, refusal: bytes) -> Callable[..., Any]:
    """A script that answers 400 to whoever asks for token counts."""
    good = whole(written([*events_for(backend), "[DONE]"]))

    def script(connection: Any, server: Any) -> str:
        bad = b"stream_options" in server.requests[-1]
        head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            refusal
        )
        connection.sendall(head + refusal if bad else good)
        return "keep"

    return script


def options_sent(server: Any) -> list[bool]:
    return [b"stream_options" in request for request in server.requests]


def is_chat(backend: str) -> bool:
    return "choices" in events_for(backend)[0]


def test_token_counts_are_asked_for_on_chat_streams_only(backend, serve, make_client):
    good = whole(written([*events_for(backend), "[DONE]"]))
    server = serve(lambda connection, server: connection.sendall(good) or "keep")
    client = make_client(backend, server)
    with_default = client.chat("Hi", stream=True).result()
    client.chat("Hi", stream=True, stream_options=isochat.UNSET).result()
    if is_chat(backend):
        client.chat("Hi", stream=True, stream_options={"include_usage": False}).result()

    assert options_sent(server)[:2] == [is_chat(backend), False]
    if is_chat(backend):
        assert b'"include_usage":true' in server.requests[0].replace(b" ", b"")
        assert b'"include_usage":false' in server.requests[2].replace(b" ", b"")
        assert "usage_missing" in with_default.meta.warnings


def test_an_endpoint_that_refuses_them_is_asked_once_more_without(backend, serve, make_client):
    if not is_chat(backend):
        return
    server = serve(refusing(backend, REFUSAL))
    client = make_client(backend, server, max_retries=0)
    first = client.chat("Hi", stream=True).result()
    second = client.chat("Hi", stream=True).result()
    own = client.chat("Hi", stream=True, stream_options={"include_usage": True}).result()

    assert options_sent(server) == [True, False, False, False]
    assert (first.meta.attempts, second.meta.attempts, own.meta.attempts) == (2, 1, 1)
    assert first.text == second.text == own.text == "Hi é!"
    assert any("left out stream_options" in warning for warning in first.meta.warnings)
    assert not any(warning.startswith("added") for warning in first.meta.warnings)
    assert any("stream_options" in warning for warning in own.meta.warnings)


def test_a_refusal_of_something_else_is_not_repeated(backend, serve, make_client):
    if not is_chat(backend):
        return
    server = serve(refusing(backend, OTHER_REFUSAL))
    with pytest.raises(isochat.BadRequestError):
        make_client(backend, server).chat("Hi", stream=True)

    assert options_sent(server) == [True]


def test_plain_calls_never_send_them(backend, workspace, make_client):
    make_client(backend, workspace).chat("Hi")

    assert b"stream_options" not in workspace.requests[-1].body


def test_two_threads_that_read_one_stream_share_its_chunks(backend, serve, make_client):
    client = make_client(backend, serve(in_pieces(many_words(backend))))

    def take(stream: isochat.ChatStream) -> list[str]:
        return [chunk.text for chunk in stream if chunk.text]

    with ThreadPoolExecutor() as threads:
        stream = client.chat("Hi", stream=True)
        taken = [threads.submit(take, stream) for _ in range(2)]
        assert sorted(taken[0].result(TIMEOUT) + taken[1].result(TIMEOUT)) == sorted(WORDS)
    assert stream.result().text == "".join(WORDS)
