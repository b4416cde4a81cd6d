"""What is to be done about an error reply? The service's own words call for one thing or another."""

from __future__ import annotations

import re

from isochat.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    ContextLengthExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    StatusError,
)

# The context is exceeded by messages and asked-for output together.
_OUTPUT_COUNTS = re.compile(r"max_(completion_|output_|new_)?tokens|in the completion|max output tokens", re.IGNORECASE)
_REMEDIES: tuple[tuple[type[StatusError], str], ...] = (
    (ContextLengthExceededError, "Shorten the messages, or use a model with a larger context"),
    (ContentFilteredError, "Reword the request; the endpoint's guardrail refused it"),
    (AuthenticationError, "Check that the token is one of this workspace and is sent as Bearer or Basic"),
    (PermissionDeniedError, "Check that the token is valid and has CAN QUERY on the endpoint"),
    (NotFoundError, "Check the endpoint's name and that the host is its workspace"),
    (RequestTooLargeError, "Shorten the messages: the service takes 4 MB for foundation models"),
    (RateLimitError, "Wait, lower max_tokens (it is reserved in advance), or raise the endpoint's limit"),
    (OverloadedError, "Wait: the endpoint may be scaling up from zero"),
)
# What the service's own words call for; the first that fits says more than the class of the error does.
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"has no reply to this request: "),
        "Ask as it was recorded, or record it: isochat serve --record FILE --upstream URL",
    ),
    (
        re.compile(r"not support the (temperature|top_p|top_k) parameter", re.I),
        r"This model takes no \1: leave it out",
    ),
    (
        re.compile(r"use 'max_completion_tokens' instead", re.I),
        "Pass extra_body={'max_completion_tokens': ...} in place of max_tokens",
    ),
    (
        re.compile(r"unknown field \"(?:messages|input)\"|Missing required Chat parameter", re.I),
        "This endpoint does not take what was sent: check its task; api='responses' is for agents that take input",
    ),
    (re.compile(r"unsupported (?:value|parameter): '(\w+)'", re.I), r"This model takes no such \1: leave it out"),
    (
        re.compile(r"\.strict: Extra inputs|unknown field \"strict\"", re.I),
        "Leave strict out: GPT models alone take it",
    ),
    (
        re.compile(r"unknown field \"([^\"]+)\"|Extra inputs are not permitted", re.I),
        "Leave out the field that the message names",
    ),
    (
        re.compile(r"\"parameters\" is a required property|input_schema\.type: Field required", re.I),
        "Give each function its parameters, {'type': 'object', 'properties': {}} where it takes none",
    ),
    (re.compile(r"both response_format and tools", re.I), "Leave out one of the two, or use another model"),
    (
        re.compile(r"tools with reasoning_effort are not supported", re.I),
        "Use the backend openai-responses, or pass reasoning_effort='none'",
    ),
    (
        re.compile(r"thinking\.type\.adaptive", re.I),
        "Pass thinking={'type': 'adaptive'} and extra_body={'output_config': {'effort': ...}}",
    ),
    (re.compile(r"max_tokens \(\d+\) cannot exceed (\d+)", re.I), r"Pass max_tokens of at most \1"),
    (
        re.compile(r"'messages\.content' expects", re.I),
        "Pass content as text: this endpoint takes no lists of content blocks",
    ),
    (
        re.compile(r"missing a thought_signature", re.I),
        "Send the model's own message back as result.to_message() gives it: it keeps the signatures",
    ),
    (
        re.compile(r"passthrough is not supported|API type .* is not supported", re.I),
        "This model does not speak that API: use a backend that speaks chat completions",
    ),
    (re.compile(r"AI Gateway (legacy endpoint )?is not available", re.I), "Use route='serving-endpoints'"),
    (re.compile(r"IP ACL", re.I), "Call from an address that the workspace's IP access list allows"),
    (
        re.compile(r"rate limit of 0", re.I),
        "Use another endpoint: Databricks has switched this one off for the workspace",
    ),
)


def remedy_for(kind: type[StatusError], message: str) -> str | None:
    """What helps against an error of class ``kind`` that the service words as ``message``, if anything is known."""
    if kind in (BadRequestError, PermissionDeniedError, NotFoundError):
        for pattern, hint in _HINTS:
            if found := pattern.search(message):
                return found.expand(hint)
    if kind is ContextLengthExceededError and _OUTPUT_COUNTS.search(message):
        return "Shorten the messages, lower max_tokens (it counts towards the context), or use a larger model"
    return next((remedy for cls, remedy in _REMEDIES if kind is cls), None)
