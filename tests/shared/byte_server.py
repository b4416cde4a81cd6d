"""A server whose replies are bytes: it reads whole requests, keeps them, and has a script send what it likes."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

TOKEN = "dapi-of-the-test"


class ByteServer:
    """Runs a script on each connection: ``script(connection, server)`` after each request it has read.

    The connection is closed when the script is over, unless it returns ``"keep"``.
    """

    token = TOKEN

    def __init__(self, script: Callable[[socket.socket, ByteServer], Any], tls: ssl.SSLContext | None = None):
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self.over.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            with connection:
                while self.read_request(connection) and self._script(connection, self) == "keep":
                    pass

    def read_request(self, connection: socket.socket) -> bytes:
        """One request with its body; empty when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(65536)
            if not got:
                return b""
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            got = connection.recv(65536)
            if not got:
                return b""
            body += got
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):  # wakes accept()
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)


def tunnel(connection: socket.socket, server: ByteServer) -> None:
    """A script that is a proxy: CONNECT, then bytes in both directions until one side has enough."""
    host, _, port = server.requests[-1].split()[1].decode().partition(":")
    upstream = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    back = threading.Thread(target=pump, args=(upstream, connection), daemon=True)
    back.start()
    pump(connection, upstream)
    back.join()
    upstream.close()
