"""Is a stream that is cut anywhere ever taken for a whole one? Each recorded stream, cut at every byte."""

from __future__ import annotations

import pytest
from recorded_streams import STREAMS, is_complete, is_prefix_of_the_truth
from stream_bytes import calls_of, text_of

from isochat.errors import ChatError, ConnectionLostError, StreamTruncatedError
from isochat.results import Meta
from isochat.streaming.reading import StreamReading


def test_the_streams_say_what_they_are_said_to_say():
    for stream in STREAMS.values():
        reading = StreamReading("chat-completions")
        reading.feed(stream.body)
        chunks = list(reading.chunks)
        indexes = range(len(stream.texts)) if stream.kind == "chat" else [0]

        told = [text_of(chunks, index) for index in indexes]
        assert told == (stream.texts if stream.kind == "chat" else ["".join(stream.texts)])
        assert "".join(chunk.reasoning or "" for chunk in chunks) == stream.reasoning
        assert calls_of(chunks) == stream.calls


@pytest.mark.parametrize("end", ["delimited", "closed", "lost"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_is_complete_only_after_its_mark_and_keeps_a_prefix_of_the_truth(name, end):
    stream = STREAMS[name]
    body = stream.body
    complete_ones = 0
    for place in range(len(body) + 1):
        prefix = body[:place]
        reading = StreamReading("chat-completions", choices=len(stream.texts) if stream.kind == "chat" else 1)
        failure: ChatError | None = None
        reading.feed(prefix)
        chunks = list(reading.chunks)
        try:
            if end == "lost":
                reading.broken(ConnectionLostError("the connection ended inside the reply"))
            else:
                reading.end(end == "delimited")
        except ChatError as error:
            failure = error

        complete = is_complete(stream, prefix, end)
        assert (failure is None) == complete, prefix
        result = reading.result(Meta()) if failure is None else failure.partial
        assert is_prefix_of_the_truth(result, stream), prefix
        assert failure is None or type(failure) is StreamTruncatedError
        for index, truth in enumerate(stream.texts if stream.kind == "chat" else ["".join(stream.texts)]):
            assert truth.startswith(text_of(chunks, index)), prefix
        unproven = complete and "[DONE]" not in prefix.decode("utf-8", "ignore") and stream.kind == "agent"
        assert ("completion_unproven" in reading.warnings) >= unproven
        complete_ones += complete
    assert complete_ones < len(body)
    assert (
        complete_ones > 0 or name == "a citation, cut there" or (end != "delimited" and stream.events[-1] != "[DONE]")
    )
