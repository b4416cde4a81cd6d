"""What if a real workspace shall answer, and what it says be kept? A proxy, which can write a cassette."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import aiohttp

from isochat.config.credential_sources import find_credentials
from isochat.config.settings import resolve
from isochat.errors import ChatError
from isochat.redaction import Redactor, hidden
from isochat.status_errors import reports_error
from isochat.streaming.events import EventDecoder
from isochat.wire_format.json_text import decode
from isochat_workspace.http.http_reply import HttpReply
from isochat_workspace.http.stream_reply import CutHereError, End, StreamReply
from isochat_workspace.recording.cassette_file import CassetteError, CassetteWriter
from isochat_workspace.recording.exchange import is_event_stream
from isochat_workspace.recording.exchange_cleaning import Cleaner, UncleanError, cut_behind_events
from isochat_workspace.recording.upstream import Upstream, UpstreamReply
from isochat_workspace.serving.responder import Responder

if TYPE_CHECKING:
    from isochat_workspace.http.records import RecordedRequest
    from isochat_workspace.models.model import Dialect
    from isochat_workspace.models.reply_source import Reply

logger = logging.getLogger("isochat.workspace.proxy")

LARGEST_RECORDED = 16 * 1024 * 1024
"""Bytes of one reply that are kept for the cassette; a larger one passes and is not recorded."""
_LARGEST_ERROR = 1024 * 1024
_SHORTEST_SECRET = 8
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")


class Proxy(Responder):
    """Passes requests on to a real workspace, byte for byte and piece by piece, and records them if told to.

    The client's token stays here; what authenticates there comes from the arguments or from Databricks' own
    environment, as for `isochat.Client`, and a token goes only to the host that it stands beside. Cookies and
    `x-databricks-org-id` are not passed, in neither direction; both tokens are blanked in the replies of a status from
    400 on and everywhere in the cassette.

    Args:
        host: The workspace's URL; by default the environment's.
        token: Its token.
        profile: A profile of `~/.databrickscfg` in place of a token.
        record: The file to which each exchange is appended once it has ended.
        ca_bundle: A file or folder of certificate authorities to trust.
        allow_insecure: Send the token over plain http, also to another machine.

    Raises:
        ConfigurationError: there are no credentials, or they cannot be used.
        CassetteError: the file cannot be written, or is no cassette.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        token: str | None = None,
        profile: str | None = None,
        record: str | os.PathLike[str] | None = None,
        ca_bundle: str | None = None,
        allow_insecure: bool = False,
    ) -> None:
        token = hidden(token)
        arguments = {"host": host, "token": token, "profile": profile, "allow_insecure": allow_insecure or None}
        self._upstream = Upstream(find_credentials(resolve(arguments)), ca_bundle=ca_bundle)
        self.writer = None if record is None else CassetteWriter(record)
        self.served_name = host or "the upstream workspace"

    async def open(self) -> None:
        """Make ready."""
        await self._upstream.open()

    async def close(self) -> None:
        """End all connections and close the cassette."""
        await self._upstream.close()
        if self.writer is not None:
            self.writer.close()

    async def reply(self, api: Dialect, request: RecordedRequest) -> Reply:
        """Pass a request to one endpoint on, as it is."""
        return await self.respond(request)

    async def respond(self, request: RecordedRequest) -> Reply:
        """Pass one request on. Raises ServiceError 502 or 504 where no reply comes."""
        local = Redactor(_tokens(request))
        incoming = await self._upstream.send(request, local)
        cleaner = Cleaner((local, incoming.redactor))
        passage = _Passage(request, incoming, cleaner, self.writer)
        has_no_body = request.method == "HEAD" or incoming.status in (204, 304)
        if has_no_body or (incoming.status >= 400 and not is_event_stream(incoming.headers)):
            return await _whole(passage)
        length = incoming.length if incoming.framing == "content-length" else None
        return StreamReply(incoming.status, incoming.headers, passage, framing=incoming.framing, content_length=length)


class _Passage:
    """One reply on its way: its pieces, kept while they pass, and written down at the end."""

    def __init__(
        self, request: RecordedRequest, incoming: UpstreamReply, cleaner: Cleaner, writer: CassetteWriter | None
    ) -> None:
        self.incoming = incoming
        self.cleaner = cleaner
        self.end: End = "clean"
        self._request = request
        self._writer = writer
        self._kept: list[bytes] = []
        self._size = 0
        self._over = False
        self._pieces = self._pass()

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._pieces

    async def aclose(self) -> None:
        """End it, sent or not: the connection is closed, and what the client left in the middle is not recorded."""
        await self._pieces.aclose()
        self._finish()

    async def _pass(self) -> AsyncGenerator[bytes, None]:
        pieces = self.incoming.pieces()
        try:
            async for piece in pieces:
                self._keep(piece)
                if self.incoming.framing == "content-length" and self._size >= self.incoming.length:
                    # Before it goes out: a client that holds the answer finds the exchange in the cassette.
                    self._over = True
                    self._finish()
                yield piece
                if self._over:
                    return
            self._over = True
        except (aiohttp.ClientError, TimeoutError, OSError):
            self.end, self._over = "cut", True
        finally:
            await pieces.aclose()
            self._finish()
        if self.end == "cut":
            raise CutHereError

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._writer is not None and self._size <= LARGEST_RECORDED:
            self._kept.append(piece)

    def kept_reply(self) -> StreamReply:
        """What has passed, as a reply of its own."""
        incoming, pieces = self.incoming, self._kept
        if incoming.framing != "chunked":  # where the pieces were cut is the network's chance
            whole = b"".join(pieces)
            pieces = cut_behind_events(whole) if is_event_stream(incoming.headers) else [whole] if whole else []
        cut_short = self.end == "cut" and incoming.framing == "content-length"
        return StreamReply(
            incoming.status,
            incoming.headers,
            tuple(pieces),
            framing=incoming.framing,
            end=self.end,
            content_length=incoming.length if cut_short else None,
        )

    def _finish(self) -> None:
        self.incoming.close()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        request = self._request
        what = f"{request.method} {request.path[:200]}"
        # Many clients leave a stream at its last event and wait for no end of the connection.
        if not self._over and not _is_told_to_the_end(b"".join(self._kept[-2:])):
            logger.warning("not recorded: the reply to %s was left before its end", what)
        elif self._size > LARGEST_RECORDED:
            logger.warning("not recorded: the reply to %s is larger than %d MiB", what, LARGEST_RECORDED // 2**20)
        else:
            try:
                client = request.header("user-agent") or ""
                writer.write(
                    self.cleaner.exchange(
                        request.method, request.path_and_query, client, request.body, self.kept_reply()
                    )
                )
            except (UncleanError, CassetteError) as error:
                logger.warning("not recorded: %s: %s", what, error)
        self._kept.clear()


def _is_told_to_the_end(last: bytes) -> bool:
    """Whether the end of a stream says that it is one: by its last event, or by an error."""
    for event in EventDecoder(LARGEST_RECORDED).feed(last + b"\n\n"):
        if event.data.strip() == b"[DONE]":
            return True
        try:
            told = decode(event.data)
        except ChatError:
            continue
        if isinstance(told, dict) and (told.get("type") in _LAST_EVENTS or reports_error(told)):
            return True
    return False


async def _whole(passage: _Passage) -> Reply:
    """A reply read to its end before it is passed: an error, which may echo a token, is blanked."""
    incoming = passage.incoming
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in passage:
            size += len(piece)
            if size > _LARGEST_ERROR:
                passage.end = "cut"
                break
            pieces.append(piece)
    except CutHereError:
        pass
    finally:
        await passage.aclose()
    whole = (b"".join(pieces),) if incoming.framing != "chunked" else tuple(pieces)
    given = StreamReply(incoming.status, incoming.headers, tuple(p for p in whole if p), framing=incoming.framing)
    try:
        clean = passage.cleaner.reply(given)
    except UncleanError:
        clean = StreamReply(incoming.status, (), (), framing="content-length")
    cut = passage.end == "cut"
    if clean.framing == "content-length" and not cut:
        assert isinstance(clean.pieces, tuple)
        return HttpReply(clean.status, clean.headers, b"".join(clean.pieces))
    return StreamReply(clean.status, clean.headers, clean.pieces, framing=clean.framing, end="cut" if cut else "clean")


def _tokens(request: RecordedRequest) -> list[str]:
    """The client's own token, as its Authorization header spells it.

    One that is too short to be a secret is none: to blank each "test" would spoil what was asked.
    """
    scheme, _, value = (request.header("authorization") or "").strip().partition(" ")
    spelled = [value.strip()]
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            spelled.append(base64.b64decode(value).decode().partition(":")[2])
    return [hidden(one) for one in spelled if len(one) >= _SHORTEST_SECRET]
