"""An isochat backend on ``http.client``: how a client with a transport of its own is plugged in.

What is asked of it: send the request once, with the credentials of this attempt, inside its deadline; hand over status,
headers and bytes. Reading the answer, naming the error, retrying and blanking secrets are isochat's.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, ClassVar
from urllib.parse import urlsplit

import isochat

_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class HttpClient(isochat.Backend):
    """``http.client.HTTPConnection.request`` on the invocations path."""

    name: ClassVar[str] = "http-client"
    capabilities: ClassVar[isochat.Capabilities] = isochat.Capabilities(api="chat-completions", surface="invocations")

    def complete(self, request: isochat.Request, wire: Any) -> isochat.Reply:
        url = urlsplit(f"{self.setup.api_base}/{request.endpoint}/invocations")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"isochat-http-client/1.0 isochat/{isochat.__version__}",
            **wire.own_headers,
            **wire.credentials,
        }
        left = wire.deadline.left("first_byte")
        connection = _CONNECTIONS[url.scheme](url.netloc, timeout=left)
        try:
            connection.request("POST", url.path, json.dumps(request.body), headers)
            reply = connection.getresponse()
            body = reply.read()
        finally:
            connection.close()
        return isochat.Reply(
            status=reply.status,
            headers=reply.getheaders(),
            body=body,
            native=lambda: json.loads(body),
            client_call="HTTPConnection.request",
        )

    def translate_error(self, error: Exception) -> isochat.ChatError | None:
        match error:
            case ConnectionRefusedError():
                return isochat.ConnectError(f"no connection: {error}")
            case TimeoutError():
                return isochat.ChatTimeoutError(f"no reply in time: {error}", phase="first_byte")
            case OSError() | http.client.HTTPException():
                return isochat.ConnectionLostError(f"the connection broke: {error}")
        return None


@isochat.hookimpl
def isochat_backend() -> type[isochat.Backend]:
    """The backend of this distribution."""
    return HttpClient
