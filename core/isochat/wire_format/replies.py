"""Which kind of answer is a reply? The shape decides, since an invocations path may speak for any model or agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from isochat.results import ChatResult, Meta
from isochat.wire_format.agents import read_chat_agent
from isochat.wire_format.chat_completions import read_completion
from isochat.wire_format.responses import read_response
from isochat.wire_format.verdict import names_error

_NO_META = Meta()


def read_reply(data: Any, api: str, meta: Meta = _NO_META) -> ChatResult:
    """The normalised result of a reply to a request in the words of ``api``.

    A chat request to an agent endpoint may be answered by a Responses object (ResponsesAgent) or by a list of messages
    (ChatAgent).

    Raises:
        BadResponseError: it is none of the three; the message names what is missing or of the wrong type.
    """
    if isinstance(data, Mapping) and names_error(data):
        told = "the reply names an error beside its answer; it stands in meta.raw"
        meta = msgspec.structs.replace(meta, warnings=(*meta.warnings, told))
    if api == "responses":
        return read_response(data, meta)
    if isinstance(data, Mapping) and "choices" not in data:
        if "output" in data:
            return read_response(data, meta)
        if "messages" in data:
            return read_chat_agent(data, meta)
    return read_completion(data, meta)
