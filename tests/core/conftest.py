"""Fixtures of the core tests: a server that breaks HTTP byte by byte, and replies for it."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from byte_server import ByteServer

# What these tests share stands beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def clean_environment(clean_environment: Path) -> Path:
    """For each test here."""
    return clean_environment


@pytest.fixture
def serve() -> Iterator[Callable[..., ByteServer]]:
    """Start a ByteServer with a script, as `serve(script)`; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(script: Callable[..., Any], **arguments: Any) -> ByteServer:
            server = ByteServer(script, **arguments)
            stack.callback(server.close)
            return server

        yield start


def completion(text: str = "Hello.") -> bytes:
    """A chat completion of one choice."""
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
        }
    ).encode()


def response(text: str = "Hello.") -> bytes:
    """The same answer as a Responses object."""
    return json.dumps(
        {
            "id": "resp-1",
            "object": "response",
            "created_at": 1700000000,
            "model": "m",
            "status": "completed",
            "output": [
                {
                    "id": "msg-1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": text, "annotations": []}],
                }
            ],
            "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }
    ).encode()


@pytest.fixture
def body_of() -> Callable[..., bytes]:
    """The bytes of an answer in the dialect of a backend, as `body_of(backend, text)`."""
    return lambda backend, text="Hello.": (response if backend == "openai-responses" else completion)(text)


def http_reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP reply with its Content-Length."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture
def reply() -> Callable[..., bytes]:
    """As `reply("200 OK", body, "Header: value")`."""
    return http_reply


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of the tests."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of that authority for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """The file that says that the authority is to be trusted."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)
