"""How does one attempt go over the wire, in a thread that waits? By urllib3, one request and no more."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from isochat.transport.body_buffer import BodyBuffer
from isochat.transport.deadline import Deadline
from isochat.transport.exchange import Exchange
from isochat.transport.places import Places, under_way
from isochat.transport.reply import IncomingReply

if TYPE_CHECKING:
    from isochat.transport.pools import Pools


class Wire(Exchange):
    """One attempt over urllib3.

    Args:
        pools: The connections of the client object.
        options: As :class:`~isochat.transport.exchange.Exchange` takes them.
    """

    incoming: IncomingReply | None

    def __init__(self, pools: Pools, deadline: Deadline, **options: Any) -> None:
        super().__init__(deadline, **options)
        self._pools = pools
        # Kept by the connection while it works for this wire.
        self.requested = False
        self.held: bytes | None = None
        self.socket: socket.socket | None = None
        self.queue: Places | None = None
        self.read_body: Callable[[int], bytes] | None = None  # of the reply whose head has come
        self.lookup: threading.Event | None = None
        self._ending = threading.Lock()
        self._pid = os.getpid()

    def send(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> IncomingReply:
        """Send the one request of this attempt and wait for the reply's headers.

        Raises:
            ConfigurationError: this attempt has sent its request already.
            TransportError, ChatTimeoutError, ResponseTooLargeError: no usable reply came.
        """
        self.begin(method, url, headers, body)
        token = under_way.set(self)
        try:
            raw = self._pools.urlopen(self)
            reply = IncomingReply(raw, self)
            try:
                self.take_head(reply.head)
            except BaseException:
                reply.close()
                raise
        except BaseException as error:
            raise self.failed(error) from self.cause_of(error)
        finally:
            under_way.reset(token)
        return reply

    def exchange(self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
        """Send the request and read the whole reply; the body also stays in :attr:`body`.

        Of a stream nothing is read: :attr:`incoming` is its reply, and ``b""`` is returned.
        """
        reply = self.send(method, url, headers, body)
        if self.left_open:
            self.incoming = reply
            return b""
        coming = BodyBuffer(self.body_cap(reply.head.status))
        try:
            # By map: what the server echoes is not to stand in this frame when the reply breaks.
            for _ in map(coming.write, reply.chunks()):
                pass
        except Exception as error:
            if not self.forgives(error):
                raise
        return self.take_body(coming.take())

    def drop_idle_connections(self) -> None:
        self._pools.drop_idle(self.url)

    def abort(self) -> None:
        """End the attempt from another thread: its connection closes, and the thread that waits on it returns."""
        if self._pid != os.getpid():
            return  # the connection is the parent's of this forked child
        with self._ending:
            self.aborted = True
            if self.socket is not None:
                try:
                    # The plain socket's, also under TLS: the peer sees the end, and a blocked read returns.
                    socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already
        if self.queue is not None:
            self.queue.wake()
        if self.lookup is not None:
            self.lookup.set()

    def let_go(self) -> bool:
        """The connection goes over to another wire; from here on :meth:`abort` leaves it alone.

        Returns:
            Whether it can be used: an abort that came just as this attempt ended may have shut it down.
        """
        with self._ending:
            self.socket = None
            return not self.aborted
