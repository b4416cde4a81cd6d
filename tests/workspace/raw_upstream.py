"""An upstream workspace down to its framing: a server that answers with given bytes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from byte_server import ByteServer

Answer = Callable[[bytes], Iterable[bytes]]


class RawUpstream(ByteServer):
    """Answers each connection once, with the pieces that `answer` gives for the request, and closes it.

    Attributes:
        left: Set once the other side has closed a connection before its answer had ended.
    """

    def __init__(self, answer: Answer) -> None:
        self.left = threading.Event()
        self._answer = answer
        super().__init__(self._reply)

    def _reply(self, connection: socket.socket, server: ByteServer) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in self._answer(self.requests[-1]):
                connection.sendall(piece)
                if _has_left(connection):
                    self.left.set()
                    return
        except OSError:
            self.left.set()


def _has_left(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        connection.setblocking(True)


@contextmanager
def raw_upstream(answer: Answer | bytes) -> Iterator[RawUpstream]:
    server = RawUpstream((lambda _: [answer]) if isinstance(answer, bytes) else answer)
    try:
        yield server
    finally:
        server.close()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
