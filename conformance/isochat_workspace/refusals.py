"""What does the service refuse? One row per refusal that a page or a pasted payload proves; one engine.

Everything that no row names is let through: an emulator that invents refusals teaches wrong workarounds.
A row whose text no source quotes says so in `source`; then status and code are known and the words are ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from .endpoints import Endpoint
from .http_reply import ServiceError
from .models import Dialect

ANY: tuple[str, ...] = ()
_WORDS_OURS = "; text not quoted there, the words are ours"


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A 400 of the service.

    It applies to `families` (none named: all) whose endpoint name contains `endpoint`, if every path of
    `present` leads to something in the body. A path is dotted, `*` walks a list, `=value` demands that
    value, and a leading `!` demands the absence of the last step. null counts as absent.
    `message` may use {model}, {endpoint} and {index} (the place of the first `*`).
    """

    dialects: tuple[Dialect, ...]
    families: tuple[str, ...]
    present: tuple[str, ...]
    message: str
    source: str
    endpoint: str = ""
    error_code: str = "BAD_REQUEST"


def _unsupported_on_responses(name: str) -> Refusal:
    return Refusal(
        ("responses",),
        ANY,
        (name,),
        f"Bad request: parameter '{name}' is not supported.",
        "API reference and 'Query with the OpenAI Responses API' (docs 2026-06-18)" + _WORDS_OURS,
    )


def _unknown_to_claude(name: str) -> Refusal:
    return Refusal(
        ("chat",),
        ("claude",),
        (f"messages.*.{name}",),
        f'{{{{"message":"messages.{{index}}.{name}: Extra inputs are not permitted"}}}}',
        "cline#6515 (reasoning_details), BerriAI/litellm#36931 (thinking_blocks, whole body)",
    )


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        ("chat",),
        ANY,
        ("inputs",),
        'Bad request: json: unknown field "inputs"',
        "databricks-sdk-py#1263 (pasted)",
    ),
    Refusal(
        ("chat",),
        ANY,
        ("tools.*.function.!parameters",),
        'Bad request: "parameters" is a required property for "function" object in parameter "tools"',
        "posit-dev/querychat#273 (pasted)",
    ),
    Refusal(
        ("chat",),
        ("claude",),
        ("response_format", "tools.*"),
        "Cannot specify both response_format and tools in the same request.",
        "databricks-fmapi-task-benchmark 2026-08 (live probe); limits page read 2026-10",
    ),
    Refusal(
        ("chat",),
        ("claude",),
        ("response_format.type=json_object",),
        "Bad request: response_format of type 'json_object' is not supported, use 'json_schema'.",
        "structured outputs page read 2026-10 ('Claude: json_schema only'), live probe 2026-08" + _WORDS_OURS,
    ),
    Refusal(
        ("chat",),
        ("claude",),
        ("reasoning_effort",),
        "Bad request: parameter 'reasoning_effort' is not supported by {model}.",
        "databricks-fmapi-task-benchmark 2026-08 (live probe)" + _WORDS_OURS,
    ),
    Refusal(
        ("chat",),
        ("gpt",),
        ("thinking",),
        "Bad request: parameter 'thinking' is not supported by {model}.",
        "databricks-fmapi-task-benchmark 2026-08 (live probe), models.dev#2340" + _WORDS_OURS,
    ),
    Refusal(
        ("chat",),
        ("claude",),
        ("temperature",),
        "BAD_REQUEST: Model {model} does not support the temperature parameter.",
        "leonardovida/duckdb-ai#85 (pasted)",
        endpoint="claude-opus-5",
    ),
    _unknown_to_claude("reasoning_details"),
    _unknown_to_claude("thinking_blocks"),
    *(_unsupported_on_responses(name) for name in ("background", "store", "conversation", "previous_response_id")),
)
"""`service_tier` stands in the pages of 2026-06 as refused and in later readings as accepted: let through."""


def check_refusals(dialect: Dialect, endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """Raise the first refusal that applies, as ServiceError 400."""
    for name in endpoint.unknown_fields:
        if name in body:
            raise ServiceError(400, "BAD_REQUEST", f'Bad request: json: unknown field "{name}"\n')
    for row in REFUSALS:
        if dialect not in row.dialects or (row.families and endpoint.refused_as not in row.families):
            continue
        if row.endpoint not in endpoint.name:
            continue
        found = [next(_places(body, path.split("."), None), _NOTHING) for path in row.present]
        if all(place is not _NOTHING for place in found):
            message = row.message.format(model=endpoint.served_name, endpoint=endpoint.name, index=found[0])
            raise ServiceError(400, row.error_code, message)


_NOTHING = object()


def _places(value: Any, steps: list[str], index: int | None) -> Iterator[object]:
    """The places a path leads to, each as the list index it passed (or None)."""
    if not steps:
        yield index
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        for at, item in enumerate(value if isinstance(value, list) else ()):
            yield from _places(item, rest, at if index is None else index)
        return
    if not isinstance(value, Mapping):
        return
    name, wants_value, wanted = step.partition("=")
    if name.startswith("!"):
        if value.get(name[1:]) is None:
            yield index
    elif value.get(name) is not None and (not wants_value or value[name] == wanted):
        yield from _places(value[name], rest, index)
