"""An endpoint that streams what a test says, when the test says so."""

import json
import threading
import time

from isochat_workspace import Endpoint, Replay, StreamReply

WAIT = 60


def event(told):
    """One event of a stream, as bytes."""
    return f"data: {json.dumps(told)}\n\n".encode()


def chunk(finish_reason=None, index=0, usage=None, **delta):
    """One chunk of a chat completion, as bytes."""
    return event(
        {
            "id": "chatcmpl_x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}],
            "usage": usage,
        }
    )


DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


class Stage:
    """An endpoint ``staged`` that streams what is given; at a gate it waits until ``pass_on`` is called."""

    GATE = object()

    def __init__(self, workspace):
        self._workspace = workspace
        self._gates = threading.Semaphore(0)

    def play(self, *pieces, **options):
        def walk():
            for piece in pieces:
                if piece is self.GATE:
                    assert self._gates.acquire(timeout=WAIT)
                else:
                    yield piece

        reply = StreamReply(200, {"content-type": "text/event-stream"}, walk, **options)
        self._workspace.add(Endpoint("staged", Replay({"chat": reply, "responses": reply})))

    def pass_on(self):
        self._gates.release()

    def until_asked(self):
        """Wait until the head of a reply is on its way."""
        self._until(lambda: any(request.status for request in self._workspace.requests))

    def until_left(self):
        """Wait until the server has seen the client leave before the end."""
        self._until(lambda: self._workspace.requests[-1].closed_early)

    def _until(self, condition):
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, "did not come true"
            time.sleep(0.001)
