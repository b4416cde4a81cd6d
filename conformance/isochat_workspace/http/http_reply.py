"""What goes back over the wire? A status, headers and bytes, and how a Databricks error looks in them."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class HttpReply:
    """One HTTP answer, sent as it stands; the server adds the framing (`Content-Length`) and nothing else.

    `headers` is a mapping, or pairs where a name comes twice or the order counts.
    """

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """The headers as pairs in the order given."""
        return pairs_of(self.headers)


def pairs_of(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Headers as pairs in the order given."""
    if isinstance(headers, Mapping):
        return tuple(cast(Mapping[str, str], headers).items())
    return tuple(headers)


def json_reply(status: int, body: Any, request_id: str, *headers: tuple[str, str]) -> HttpReply:
    """An answer of the service itself, in JSON."""
    return HttpReply(status, service_headers("application/json", request_id, *headers), json_bytes(body))


def service_headers(content_type: str, request_id: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers every answer of the service carries.

    Source: headers noted on a live workspace on 2025-11-24 (anomalyco/opencode#4698). Not taken over: the
    ones of the CDN (`alt-svc`, HSTS) and gzip, which would only hide the bytes from whoever looks.
    """
    return (
        ("content-type", content_type),
        ("server", "databricks"),
        ("date", email.utils.formatdate(usegmt=True)),
        ("x-request-id", request_id),
        ("x-content-type-options", "nosniff"),
        *more,
    )


def json_bytes(body: Any) -> bytes:
    """JSON in UTF-8, with escapes only where nothing else can carry the text."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate of the question in the answer: only escapes can carry it
        return json.dumps(body).encode()


class ServiceError(Exception):
    """A refusal in Databricks' shape: `{"error_code", "message"[, "details"]}`.

    `with_request_info` adds the `details[]` entry with the request id; only some errors of the service have
    it (RESOURCE_DOES_NOT_EXIST and PERMISSION_DENIED were seen with it, databricks-demos/dbdemos#218, #220).
    `body` takes the place of that shape where the service has another one.
    """

    def __init__(
        self,
        status: int,
        error_code: str | int,
        message: str,
        *,
        with_request_info: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
        body: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.message = message
        self.with_request_info = with_request_info
        self.headers = headers
        self.body = body

    def reply(self, request_id: str) -> HttpReply:
        """The answer that carries this error."""
        if self.body is not None:
            return json_reply(self.status, self.body, request_id, *self.headers)
        body: dict[str, Any] = {"error_code": self.error_code, "message": self.message}
        if self.with_request_info:
            body["details"] = [
                {
                    "@type": "type.googleapis.com/google.rpc.RequestInfo",
                    "request_id": request_id,
                    "serving_data": "",
                }
            ]
        return json_reply(self.status, body, request_id, *self.headers)


def new_request_id() -> str:
    """A request id in the service's form, a UUID."""
    return str(uuid.uuid4())
