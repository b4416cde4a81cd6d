"""How does a server do everything wrong that a server can do wrong? Byte by byte, by script, on sockets.

It is no HTTP server: it reads requests and otherwise does what its steps say. It never sleeps for a while and hopes:
where it is to fall silent it waits until the client has gone, or until it is closed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Sequence

from isochat_conformance.fault_bytes import Texts
from isochat_conformance.fault_row import Certificate, Script, Step

_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # of TLS, encrypted with no key of anybody's
_SMALL = 64 * 1024  # what a server that stops reading takes before its client notices


class FaultServer:
    """Runs a script on each connection, as a context manager; it is closed with all that it holds.

    Args:
        scripts: One for each connection, the last one for all further ones. Without any, nobody listens.
        texts: What the names in the scripts' texts stand for, given this server's URL.
        context: Gives the TLS context of a certificate.
        scheme: Of :attr:`url`; https is asked by name, as certificates have one.

    Attributes:
        requests: What has been read in full, head and body.
        connections: How many were accepted.
        failures: Exceptions of the server's own; a row must have none.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        texts: Callable[[str], Texts],
        context: Callable[[Certificate], ssl.SSLContext] | None = None,
        scheme: str = "http",
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.failures: list[Exception] = []
        self._scripts = scripts
        self._context = context
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0)) if scripts else _taken_port()
        if any(step.do == "freeze" for script in scripts for step in script):
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{scheme}://{'localhost' if scheme == 'https' else '127.0.0.1'}:{self.port}"
        self._texts = texts(self.url)

    def __enter__(self) -> FaultServer:
        if self._scripts:
            self._spawn(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        if self._scripts:
            with contextlib.suppress(OSError):  # wakes accept()
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        self._listener.close()
        for connection in list(self._open):
            _shut(connection)
        for thread in list(self._threads):
            thread.join(10)

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                connection.close()
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            # What is held back for a moment would be lost with a reset.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            self._spawn(self._serve, connection, script)

    def _serve(self, connection: socket.socket, script: Script) -> None:
        try:
            with contextlib.suppress(OSError):  # the client has gone, which is its right
                self._act(connection, script)
        except Exception as error:
            self.failures.append(error)

    def _act(self, connection: socket.socket, script: Script) -> None:
        again = True
        try:
            while again:
                again = False
                for step in script:
                    if step.tls is not None:
                        if not isinstance(connection, ssl.SSLSocket):
                            connection = self._shake_hands(connection, step.tls)
                    elif step.do == "again":
                        again = True
                    elif not self._step(connection, step, last=step is script[-1]):
                        return
        finally:
            connection.close()

    def _shake_hands(self, connection: socket.socket, certificate: Certificate) -> socket.socket:
        assert self._context is not None
        secure = self._context(certificate).wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.append(secure)
        try:
            secure.do_handshake()
        except OSError:
            # Refused by one of the two. To close at once might reset the connection before its reason is read.
            with secure, contextlib.suppress(OSError):
                socket.socket.shutdown(secure, socket.SHUT_WR)
                while socket.socket.recv(secure, 65536):
                    pass
            raise
        return secure

    def _step(self, connection: socket.socket, step: Step, *, last: bool) -> bool:
        """Do one thing; ``False`` where nothing can follow."""
        if step.send is not None:
            return self._send(connection, self._texts.body(step.send))
        if step.reply is not None:
            return self._send(connection, self._texts.reply(step.reply, closing=last))
        if step.drip is not None:
            piece = self._texts.text(step.drip).encode()
            while not self._over.wait(step.every):
                connection.sendall(piece)
            return False
        match step.do:
            case "request":
                return self._read_request(connection)
            case "first byte":
                return bool(connection.recv(1, socket.MSG_PEEK))
            case "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "half-close":
                connection.shutdown(socket.SHUT_WR)
                return self._hold(connection)
            case "hold":
                return self._hold(connection)
            case "freeze":
                self._over.wait()
            case "damage":
                socket.socket.sendall(connection, _RECORD)
                return True
            case "tunnel":
                self._tunnel(connection)
        return False

    def _send(self, connection: socket.socket, blocks: Iterable[bytes]) -> bool:
        for block in blocks:
            connection.sendall(block)
        return True

    def _hold(self, connection: socket.socket) -> bool:
        while connection.recv(65536):
            pass
        return False

    def _read_request(self, connection: socket.socket) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            got = connection.recv(65536)
            if not got:
                return False
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
        while len(body) < length:
            got = connection.recv(65536)
            if not got:
                return False
            body += got
        self.requests.append(head + b"\r\n\r\n" + body)
        return True

    def _tunnel(self, connection: socket.socket) -> None:
        host, _, port = self.requests[-1].split()[1].decode().partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            upstream.settimeout(None)
            self._open.append(upstream)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            ways = {connection: upstream, upstream: connection}
            while not self._over.is_set():
                for source in select.select(list(ways), [], [], 10)[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    ways[source].sendall(data)


def _taken_port() -> socket.socket:
    """A port where nobody listens, and that nobody else is given as long as it is held."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # The plain socket's, also under TLS: a farewell would wait for the client.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
