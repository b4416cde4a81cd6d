"""How does an endpoint answer a query? Its dials, its refusals, its model and its dress, in this order."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from isochat_workspace.dialects.agent import agent_events, write_agent
from isochat_workspace.dialects.chat import read_chat, write_chat
from isochat_workspace.dialects.chat_stream import chat_events
from isochat_workspace.dialects.dressings import StreamUsage
from isochat_workspace.dialects.response_object import write_responses
from isochat_workspace.dialects.responses import read_responses
from isochat_workspace.dialects.responses_stream import responses_events
from isochat_workspace.endpoints import API_TYPES, Endpoint
from isochat_workspace.http.event_stream import CONTENT_TYPE, begin
from isochat_workspace.http.http_reply import ServiceError, json_reply, service_headers
from isochat_workspace.http.records import RecordedRequest
from isochat_workspace.http.stream_reply import StreamReply
from isochat_workspace.models.model import Dialect, Model, Prompt
from isochat_workspace.models.reply_source import Reply, ReplySource
from isochat_workspace.serving.dials import slowed
from isochat_workspace.serving.refusals import check_refusals
from isochat_workspace.serving.request_fields import asks_for_stream, flag, read_body, wants_usage
from isochat_workspace.serving.routes import Route

_READ: Mapping[Dialect, Callable[[Mapping[str, Any]], Prompt]] = {
    "chat": read_chat,
    "responses": read_responses,
}


async def answer_query(
    endpoint: Endpoint, dialect: Dialect, route: Route, request: RecordedRequest, request_id: str
) -> Reply:
    """The reply as the endpoint's dials let it through. A limit and a failure come before the body is looked at."""
    if endpoint.rate_limit is not None:
        endpoint.rate_limit.let_in(endpoint.name, time.monotonic())
    cut_after = None
    if endpoint.failures is not None and endpoint.failures.next_fails():
        cut_after = endpoint.failures.cut_after
        if cut_after is None or not asks_for_stream(request.body):
            await asyncio.sleep(endpoint.latency.first_byte)
            raise endpoint.failures.error()
    reply = await _reply(endpoint, dialect, route, request, request_id)
    return await slowed(reply, endpoint.latency, cut_after)


async def _reply(
    endpoint: Endpoint, dialect: Dialect, route: Route, request: RecordedRequest, request_id: str
) -> Reply:
    model = endpoint.model
    if isinstance(model, ReplySource):
        reply = await model.reply(dialect, request)
        if reply is None:
            raise _api_not_spoken(endpoint, dialect, route, model.speaks)
        return reply
    if not _is_spoken(endpoint, dialect, route):
        raise _api_not_spoken(endpoint, dialect, route, endpoint.speaks)
    body = read_body(request)
    check_refusals(dialect, endpoint, body)
    prompt = dataclasses.replace(_READ[dialect](body), endpoint=endpoint.name)
    if flag(body, "stream"):
        return await _stream(endpoint, model, prompt, route, request_id)
    answer = await model.answer(prompt)
    if endpoint.dress == "agent-like":
        dressed = write_agent(prompt, answer, request_id)
    elif dialect == "chat":
        dressed = write_chat(answer, endpoint.answers_as, endpoint.dressing)
    else:
        dressed = write_responses(prompt, answer, endpoint.answers_as)
    return json_reply(200, dressed, request_id, ("served-model-name", endpoint.served_name))


async def _stream(endpoint: Endpoint, model: Model, prompt: Prompt, route: Route, request_id: str) -> StreamReply:
    """The answer as events. It waits for the first piece: what the model refuses has a status of its own."""
    asked = wants_usage(prompt.body)
    pieces = await begin(model.stream(prompt))
    if endpoint.dress == "agent-like":
        events = agent_events(prompt, pieces)
    elif prompt.dialect == "chat":
        usage = _usage_of_stream(endpoint, asked)
        events = chat_events(pieces, endpoint.answers_as, usage, endpoint.dressing)
    else:
        as_agent = route.operation == "invocations"
        events = responses_events(prompt, pieces, endpoint.answers_as, as_agent=as_agent)
    headers = service_headers(CONTENT_TYPE, request_id, ("served-model-name", endpoint.served_name))
    return StreamReply(200, headers, events)


def _is_spoken(endpoint: Endpoint, dialect: Dialect, route: Route) -> bool:
    """Whether the endpoint has the API that the path stands for.

    Open Responses is for every hosted model ("Query Open Responses models", docs); the gateway's native path is for
    those that advertise its api_type (Codex probe 2026-07-28).
    """
    if route.operation == "open_responses":
        return endpoint.task == "llm/v1/chat"
    if route.surface == "native_gateway":
        return route.api_type in endpoint.api_types(endpoint.speaks)
    return dialect in endpoint.speaks


def _usage_of_stream(endpoint: Endpoint, asked: bool | None) -> StreamUsage:
    """Where this stream carries its usage: what the endpoint does, and what the request asked for."""
    style = endpoint.usage_in_streams
    if style == "last":
        return "never" if asked is False else "last"
    if style == "asked":
        return "last" if asked else "never"
    return style


def _api_not_spoken(endpoint: Endpoint, dialect: Dialect, route: Route, spoken: Collection[Dialect]) -> ServiceError:
    """The 400 for an API an endpoint lacks. Both texts are quoted from live workspaces.

    On the workspace's Responses path: maximhq/bifrost#6958. Elsewhere: Codex probe 2026-07-28, the api_type
    names as advertised by `serving-endpoints:foundation-models`.
    """
    if route.operation == "responses" and route.surface == "workspace" and not isinstance(endpoint.model, ReplySource):
        message = f"Responses API passthrough is not supported for model {endpoint.name}."
    else:
        supported = ", ".join(endpoint.api_types(spoken))
        message = (
            f"API type '{route.api_type or API_TYPES[dialect]}' is not supported by '{endpoint.name}'."
            f" Supported API types: [{supported}]."
        )
    return ServiceError(400, "BAD_REQUEST", message)
