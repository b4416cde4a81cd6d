"""Did exactly the request that the case demands arrive at the server?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isochat.backend import Surface
from isochat.request import Api
from isochat_conformance.case import SURFACES, WireRequest
from isochat_conformance.json_difference import differences
from isochat_conformance.strict_json import strict_json
from isochat_workspace import RecordedRequest

# The documented paths. Where a path does not name the endpoint, the body does, as `model`.
_PATHS: Mapping[Surface, str] = {
    "invocations": "/serving-endpoints/{endpoint}/invocations",
    "chat/completions": "/serving-endpoints/chat/completions",
    "responses": "/serving-endpoints/responses",
}


def check_request(
    requests: Sequence[RecordedRequest],
    expected: WireRequest,
    api: Api,
    surface: Surface | None,
    endpoint: str,
    token: str,
    streamed: bool,
) -> Iterator[str]:
    """What is wrong with the requests of one call, a finding each.

    Args:
        surface: The path that the backend says it asks; ``None`` allows all that speak ``api``.
        streamed: Whether a stream was asked for: a plain call is no folded stream, and no stream a plain call.
    """
    allowed = SURFACES[api] if surface is None else (surface,)
    paths = {_PATHS[name].format(endpoint=endpoint): "{endpoint}" in _PATHS[name] for name in allowed}
    posts = [request for request in requests if request.method == "POST"]
    for request in requests:
        if request.method != "POST":
            yield f"the call also sent {request.method} {request.target}; one POST is all that a call may send"
    bodies = expected.bodies(api, streamed)
    if len(posts) != len(bodies):
        yield f"the server received {len(posts)} POST requests, expected exactly {len(bodies)}"
    for request, body in zip(posts, bodies, strict=False):
        yield from _check_post(request, body, expected.headers, paths, endpoint, token)


def check_nothing_sent(requests: Sequence[RecordedRequest]) -> Iterator[str]:
    """What is wrong with the requests of a call that must be refused before it sends anything."""
    if requests:
        sent = ", ".join(f"{request.method} {request.target}" for request in requests)
        yield f"the request should have been refused before a byte was sent; the server received {sent}"


def _check_post(
    request: RecordedRequest,
    expected: dict[str, Any],
    headers: Mapping[str, str],
    named_by_path: Mapping[str, bool],
    endpoint: str,
    token: str,
) -> Iterator[str]:
    if request.target not in named_by_path:
        yield f"the path is {request.target}; the documented ones are {' and '.join(named_by_path)}"
    if request.header("authorization") != f"Bearer {token}":
        yield "the header Authorization does not carry the client's token as Bearer"
    kind = request.header("content-type") or "absent"
    if kind.partition(";")[0].strip().lower() != "application/json":
        yield f"the header Content-Type is {kind}, expected application/json"
    for name, value in headers.items():
        if request.header(name) != value:
            yield f"the header {name} is {request.header(name)!r}, expected {value!r}"
    try:
        body = strict_json(request.body)
    except ValueError as error:
        yield f"the body is not JSON: {error}; it begins {request.body[:80]!r}"
        return
    if not isinstance(body, dict):
        yield f"the body is a JSON {type(body).__name__}, expected an object"
        return
    yield from _check_body(body, expected, endpoint, named_by_path.get(request.target, "model" not in body))


def _check_body(body: dict[str, Any], expected: dict[str, Any], endpoint: str, named_by_path: bool) -> Iterator[str]:
    if not named_by_path:
        model = body.pop("model", None)
        if model != endpoint:
            yield f"the body names the endpoint {model!r} as model, expected {endpoint!r}"
    for difference in differences(expected, body):
        yield f"in the body on the wire, {difference}"
