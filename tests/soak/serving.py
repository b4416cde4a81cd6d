"""A model server for the soak tests, in a process of its own: what it does is asked for in the prompt.

A prompt holds ``<<number|mode|count>>``. Every chunk of the answer bears the number, so that an answer which reached
the wrong caller shows. Modes:

- ``answer``: all of it at once; a stream has ``count`` chunks
- ``slowly``: the same, in many packets with turns of the loop between them: head, body, chunks and end apart
- ``rounds``: a stream whose chunk k+1 leaves when round k is opened (``POST /open``)
- ``silent``, ``half-head``, ``head``, ``stalled``: nothing, half a head, a head alone, ``count`` chunks (of a plain
  answer: half of it); then nothing more until the client has gone

Control: ``GET /state`` gives counts as JSON: ``waiting`` now in a silence, ``gone`` from one, connections ``open``.
It ends with its stdin. Standard library alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
from typing import Any

ASKED = re.compile(rb"<<(\d+)\|([a-z-]+)\|(\d+)>>")


class Server:
    def __init__(self) -> None:
        self.waiting = 0
        self.gone = 0
        self.open = 0
        self.asked = 0
        self.in_rounds = 0
        self.round = 0
        self.opened = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self.answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            self.open -= 1
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; says whether the connection may be used again."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        body = await reader.readexactly(int(length[1])) if length else b""
        path = head.split(b" ", 2)[1].decode()
        if path in ("/state", "/open"):
            writer.write(plain(await self.control(path)))
            return True
        asked = ASKED.search(body)
        if asked is None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}")
            return True
        self.asked += 1
        number, mode, count = int(asked[1]), asked[2].decode(), int(asked[3])
        responses = path.endswith("/responses")
        stream = bool(re.search(rb'"stream": ?true', body))
        if stream:
            events = (response_events if responses else chat_events)(number, count)
            parts = [STREAM_HEAD, *map(chunked, events), b"0\r\n\r\n"]
        else:
            whole = plain((response if responses else completion)(number, count))
            cut = whole.index(b"\r\n\r\n") + 4
            middle = (cut + len(whole)) // 2
            parts = [whole[:cut], whole[cut:middle], whole[middle:]]
        return await self.send(reader, writer, mode, parts, count)

    async def send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mode: str, parts: list[bytes], count: int
    ) -> bool:
        match mode:
            case "answer":
                writer.write(b"".join(parts))
            case "slowly":
                half = len(parts[0]) // 2
                for part in (parts[0][:half], parts[0][half:], *parts[1:]):
                    writer.write(part)
                    await asyncio.sleep(0.0005)
            case "rounds":
                self.in_rounds += 1
                writer.write(b"".join(parts[:2]))
                for number, part in enumerate(parts[2:]):
                    async with self.opened:
                        await self.opened.wait_for(lambda number=number: self.round > number)  # type: ignore[misc]
                    writer.write(part)
            case _:
                sent = {"silent": 0, "half-head": 0, "head": 1}.get(mode, 1 + min(count, len(parts) - 2))
                writer.write(parts[0][: len(parts[0]) // 2] if mode == "half-head" else b"".join(parts[:sent]))
                await self.wait_until_gone(reader)
                return False
        await writer.drain()
        return True

    async def wait_until_gone(self, reader: asyncio.StreamReader) -> None:
        self.waiting += 1
        try:
            await reader.read(1)
        finally:
            self.waiting -= 1
            self.gone += 1

    async def control(self, path: str) -> bytes:
        if path == "/open":
            async with self.opened:
                self.round += 1
                self.opened.notify_all()
        names = ("waiting", "gone", "open", "asked", "in_rounds")
        return json.dumps({name: getattr(self, name) for name in names}).encode()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def plain(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def chunked(piece: bytes) -> bytes:
    return b"%x\r\n" % len(piece) + piece + b"\r\n"


def completion(number: int, count: int) -> bytes:
    message = {"role": "assistant", "content": f"{number} " * count}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": f"c-{number}", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def chat_events(number: int, count: int) -> list[bytes]:
    told: list[Any] = [{"index": 0, "delta": {"content": f"{number} "}} for _ in range(count)]
    told.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    kind = {"id": f"c-{number}", "object": "chat.completion.chunk", "model": "m"}
    return [*(sse({**kind, "choices": [choice]}) for choice in told), b"data: [DONE]\n\n"]


def _response(number: int, count: int) -> dict[str, Any]:
    text = {"type": "output_text", "text": f"{number} " * count, "annotations": []}
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    return {"id": f"r-{number}", "object": "response", "model": "m", "status": "completed", "output": [item]}


def response(number: int, count: int) -> bytes:
    return json.dumps(_response(number, count)).encode()


def response_events(number: int, count: int) -> list[bytes]:
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": f"{number} "}
    # A response that has only been created brings no text, so the first events are sent as one piece.
    created = {"type": "response.created", "response": {"id": f"r-{number}", "status": "in_progress", "output": []}}
    first = sse(created) + sse(delta)
    end = {"type": "response.completed", "response": _response(number, count)}
    return [first, *[sse(delta)] * (count - 1), sse(end)]


def sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def main() -> None:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=4096)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 65536, most))
    asyncio.run(main())
