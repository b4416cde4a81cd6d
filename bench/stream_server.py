"""A server of prepared streams for the benchmark, in a process of its own: standard library alone.

The number of chunks stands in the prompt as ``<<count|pace>>``, the pace in microseconds between them. Paced or not,
the head leaves by itself and the first chunk after it, with TCP_NODELAY; without a pace the chunks leave in packets of
a few, as they do from a busy model.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from typing import Any

ASKED = re.compile(rb"<<(\d+)\|(\d+)>>")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 12, "completion_tokens": 64, "total_tokens": 76}
PACKET = 4


def chat_events(count: int) -> list[bytes]:
    kind = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "databricks-gpt-5"}

    def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return b"data: " + json.dumps({**kind, "choices": [choice], "usage": USAGE}).encode() + b"\n\n"

    words = [event({"role": "assistant", "content": f" word{n}"}) for n in range(count)]
    return [*words, event({}, "stop") + b"data: [DONE]\n\n"]


def response_events(count: int) -> list[bytes]:
    part = {"output_index": 0, "content_index": 0, "item_id": "msg-1", "logprobs": []}
    text = "".join(f" word{n}" for n in range(count))
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "id": "msg-1", "role": "assistant", "status": "completed", "content": content}
    response = {
        "id": "resp-1", "object": "response", "created_at": 1700000000, "model": "databricks-gpt-5", "output": [item],
        "status": "completed", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": {"input_tokens": 12, "output_tokens": 64, "total_tokens": 76},
    }  # fmt: skip
    told: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", **part, "delta": f" word{n}", "sequence_number": n} for n in range(count)
    ]
    told.append({"type": "response.completed", "response": response, "sequence_number": count})
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in told]


def chunked(piece: bytes) -> bytes:
    return b"%x\r\n" % len(piece) + piece + b"\r\n"


prepared: dict[tuple[str, int], list[bytes]] = {}


def serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = connection.makefile("rb")
    with connection, reader:
        while request := reader.readline():
            length = 0
            while (line := reader.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            asked = ASKED.search(reader.read(length))
            assert asked is not None
            count, pace = int(asked[1]), int(asked[2]) / 1e6
            api = "responses" if b"/responses " in request else "chat"
            key = (api, count)
            if key not in prepared:
                prepared[key] = [chunked(e) for e in (response_events if api == "responses" else chat_events)(count)]
            connection.sendall(HEAD)
            step = 1 if pace else PACKET
            pieces = prepared[key]
            for first in range(0, len(pieces), step):
                time.sleep(pace)
                connection.sendall(b"".join(pieces[first : first + step]))
            connection.sendall(b"0\r\n\r\n")


def main() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), sys.exit), daemon=True).start()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
