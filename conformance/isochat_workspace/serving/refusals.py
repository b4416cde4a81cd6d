"""What does the service refuse? One row per refusal that a page or a pasted payload proves; one engine.

Everything that no row names is let through: an emulator that invents refusals teaches wrong workarounds. A row whose
text no source quotes says so in `source`; then status and code are known and the words are ours. An endpoint may take
rows out or in by their names (`accept`, `refuse`).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isochat_workspace.http.http_reply import ServiceError
from isochat_workspace.models.model import Dialect

if TYPE_CHECKING:
    from isochat_workspace.endpoints import Endpoint

ANY: tuple[str, ...] = ()
CHAT: tuple[Dialect, ...] = ("chat",)
_WORDS_OURS = "; text not quoted there, the words are ours"
_PROBE = "databricks-fmapi-task-benchmark 2026-08 (live probe)"
_REFERENCE = "foundation model REST API reference"
_LIMITS = "limits page read 2026-10"


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A 400 of the service.

    It applies to `families` (none named: all) whose endpoint name contains `endpoint`, if each of `conditions` holds.
    A condition is a dotted path that leads to something in the body, where `*` walks a list and null counts as absent;
    `!path` wants nothing there; `path=value`, `path^=start`, `path<number` and `path>number` want a value,
    `path!=value` wants none that is this one. A value `$path` is that of another place. With `each`, a path to a list,
    the conditions hold for one item of it: paths that begin with a dot start there. `message` may use {model},
    {endpoint}, {index} (the item's place) and {value} (what the last condition found). An `optional` row holds only
    where an endpoint names it.
    """

    name: str
    dialects: tuple[Dialect, ...]
    families: tuple[str, ...]
    conditions: tuple[str, ...]
    message: str
    source: str
    endpoint: str = ""
    each: str = ""
    error_code: str = "BAD_REQUEST"
    optional: bool = False


def _unsupported_on_responses(name: str) -> Refusal:
    return Refusal(
        f"responses-{name}",
        ("responses",),
        ANY,
        (name,),
        f"Bad request: parameter '{name}' is not supported.",
        "API reference and 'Query with the OpenAI Responses API' (docs 2026-06-18)" + _WORDS_OURS,
    )


def _unknown_to_claude(name: str) -> Refusal:
    return Refusal(
        f"claude-{name}",
        CHAT,
        ("claude",),
        (f".{name}",),
        f'{{{{"message":"messages.{{index}}.{name}: Extra inputs are not permitted"}}}}',
        "cline#6515 (reasoning_details), BerriAI/litellm#36931 (thinking_blocks, whole body; reasoning_content)",
        each="messages",
    )


def _out_of_range(name: str, condition: str, range_: str) -> Refusal:
    return Refusal(
        f"range-{name}",
        ("chat", "responses"),
        ANY,
        (condition,),
        f"INVALID_PARAMETER_VALUE: '{name}' has to be {range_}, got {{value}}",
        f"{_REFERENCE}, databricks-sdk `serving.py`" + _WORDS_OURS,
        error_code="INVALID_PARAMETER_VALUE",
    )


def _sampling(name: str, endpoint: str, source: str) -> Refusal:
    return Refusal(
        f"{endpoint}-{name}",
        CHAT,
        ANY,
        (name,),
        f"BAD_REQUEST: Model {{model}} does not support the {name} parameter.",
        source,
        endpoint=endpoint,
    )


_DUCKDB = "leonardovida/duckdb-ai#85 (pasted)"
_SONNET_5 = "supported models page 2026-09-29 ('Sonnet 5 answers 400'); text as pasted for Opus 5 (duckdb-ai#85)"

REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "inputs", CHAT, ANY, ("inputs",), 'Bad request: json: unknown field "inputs"',
        "databricks-sdk-py#1263 (pasted)",
    ),
    Refusal(
        "tool-without-parameters", CHAT, ANY, (".function", "!.function.parameters"),
        'Bad request: "parameters" is a required property for "function" object in parameter "tools"',
        "posit-dev/querychat#273 (pasted)", each="tools",
    ),
    Refusal(
        "more-than-32-tools", CHAT, ANY, ("tools.32",), "Bad request: at most 32 tools are supported.",
        "function calling page 2026-06" + _WORDS_OURS,
    ),
    Refusal(
        "response_format-name", CHAT, ANY, ("response_format.type=json_schema", "!response_format.json_schema.name"),
        'Bad request: "name" is a required property for "json_schema" object in parameter "response_format"',
        f"{_REFERENCE} (name is required)" + _WORDS_OURS,
    ),
    Refusal(
        "store", CHAT, ANY, ("store",), 'Bad request: json: unknown field "store"',
        "Posit's client notes (seen live: the chat surface rejects it)" + _WORDS_OURS,
    ),
    _out_of_range("temperature", "temperature<0", "between 0 and 2"),
    dataclasses.replace(_out_of_range("temperature", "temperature>2", "between 0 and 2"), name="range-temperature-2"),
    _out_of_range("top_p", "top_p>1", "above 0 and at most 1"),
    dataclasses.replace(_out_of_range("top_p", "top_p<=0", "above 0 and at most 1"), name="range-top_p-0"),
    _out_of_range("top_k", "top_k<1", "a positive integer"),
    Refusal(
        "claude-response_format-with-tools", CHAT, ("claude",), ("response_format", "tools.*"),
        "Cannot specify both response_format and tools in the same request.", f"{_PROBE}; {_LIMITS}",
    ),
    Refusal(
        "claude-json_object", CHAT, ("claude",), ("response_format.type=json_object",),
        "Bad request: response_format of type 'json_object' is not supported, use 'json_schema'.",
        f"structured outputs page read 2026-10 ('Claude: json_schema only'), {_PROBE}" + _WORDS_OURS,
    ),
    Refusal(
        "claude-json_schema-stream", CHAT, ("claude",), ("response_format.type=json_schema", "stream=true"),
        "Bad request: response_format of type 'json_schema' is not supported with stream.",
        f"{_LIMITS} ('Claude: stream must be false')" + _WORDS_OURS,
    ),
    Refusal(
        "claude-reasoning_effort", CHAT, ("claude",), ("reasoning_effort",),
        "Bad request: parameter 'reasoning_effort' is not supported by {model}.", _PROBE + _WORDS_OURS,
    ),
    Refusal(
        "claude-thinking-budget", CHAT, ("claude",), ("thinking.budget_tokens<1024",),
        "Bad request: thinking.budget_tokens has to be at least 1024, got {value}.",
        "'Query reasoning models' (docs 2026-06-18)" + _WORDS_OURS,
    ),
    Refusal(
        "claude-thinking-max_tokens", CHAT, ("claude",), ("max_tokens", "thinking.budget_tokens>=$max_tokens"),
        "Bad request: thinking.budget_tokens has to be less than max_tokens, got {value}.",
        "'Query reasoning models' (docs 2026-06-18)" + _WORDS_OURS,
    ),
    Refusal(
        "claude-empty-text", CHAT, ("claude",), (".role=assistant", ".content=", ".tool_calls.*"),
        '{{"message":"messages.{index}: text content blocks must be non-empty"}}',
        "databricks-ai-bridge, openai/utils/clients.py (sends a blank in its place)" + _WORDS_OURS, each="messages",
    ),
    _unknown_to_claude("reasoning_details"),
    _unknown_to_claude("thinking_blocks"),
    _unknown_to_claude("reasoning_content"),
    Refusal(
        "gpt-thinking", CHAT, ("gpt",), ("thinking",),
        "Bad request: parameter 'thinking' is not supported by {model}.",
        f"{_PROBE}, models.dev#2340" + _WORDS_OURS,
    ),
    Refusal(
        "gemini-reasoning_effort-none", CHAT, ("gemini",), ("reasoning_effort=none",),
        "Bad request: reasoning_effort 'none' is not supported by {model}, use 'minimal'.",
        "client notes of 2026-09 (seen live)" + _WORDS_OURS,
    ),
    _sampling("temperature", "claude-opus-5", _DUCKDB),
    Refusal(
        "claude-opus-5-seed", CHAT, ANY, ("seed",), "Bad request: parameter 'seed' is not supported by {model}.",
        _PROBE + _WORDS_OURS, endpoint="claude-opus-5",
    ),
    Refusal(
        "claude-opus-5-thinking", CHAT, ANY, ("thinking.type=enabled",),
        'Bad request: "thinking.type.enabled" is not supported by {model}. Use "thinking.type.adaptive" and'
        ' "output_config.effort".',
        f"{_PROBE}; only the last sentence is quoted there", endpoint="claude-opus-5",
    ),
    Refusal(
        "claude-opus-5-parameters", CHAT, ANY, (".function.parameters", "!.function.parameters.type"),
        '{{"message":"tools.{index}.custom.input_schema.type: Field required"}}', _PROBE,
        endpoint="claude-opus-5", each="tools",
    ),
    _sampling("temperature", "claude-sonnet-5", _SONNET_5),
    _sampling("top_p", "claude-sonnet-5", _SONNET_5),
    _sampling("top_k", "claude-sonnet-5", _SONNET_5),
    _sampling("temperature", "gpt-5-6-sol", f"{_PROBE}; text as pasted for Opus 5 (duckdb-ai#85)"),
    Refusal(
        "gpt-5-6-sol-tools", CHAT, ANY, ("tools.*", "reasoning_effort!=none"),
        "Function tools with reasoning_effort are not supported for gpt-5.6-sol in /v1/chat/completions. To use"
        " function tools, use /v1/responses or set reasoning_effort to 'none'.",
        _PROBE, endpoint="gpt-5-6-sol",
    ),
    Refusal(
        "list-content", CHAT, ANY, ("messages.*.content.*",),
        "BAD_REQUEST: Unable to parse json body for request, field 'messages.content' expects input with json type"
        " 'string' but got 'array'",
        "run-llama/llama_index#17239 (pasted, 2024-12, some endpoints)", optional=True,
    ),
    Refusal(
        "remote-image", CHAT, ANY, ("messages.*.content.*.image_url.url^=http",),
        "Bad request: images have to be data URIs.",
        "maximhq/bifrost#6958 (Claude endpoints), against the reference, which allows https" + _WORDS_OURS,
        optional=True,
    ),
    *(_unsupported_on_responses(name) for name in ("background", "store", "conversation", "previous_response_id")),
)  # fmt: skip
"""`service_tier` stands in the pages of 2026-06 as refused and in later readings as accepted: let through.
`max_completion_tokens` is refused by one source and sent by another: let through. So are `name` on a message, a second
tool call, schema keywords that the pages call unsupported, and each field that no row names."""

NAMES = tuple(row.name for row in REFUSALS)


def check_refusals(dialect: Dialect, endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """Raise the first refusal that applies, as ServiceError 400."""
    for name in endpoint.unknown_fields:
        if name in body:
            raise ServiceError(400, "BAD_REQUEST", f'Bad request: json: unknown field "{name}"\n')
    asked, most = body.get("max_tokens"), endpoint.max_output_tokens
    if most is not None and isinstance(asked, int) and asked > most:
        # databricks-sdk-go#1183 (pasted)
        message = (
            f"Bad request: rpc error: code = InvalidArgument desc = max_tokens ({asked}) cannot exceed {most}. Please"
            " reduce the length of max output tokens generated."
        )
        raise ServiceError(400, "BAD_REQUEST", message)
    for row in REFUSALS:
        if dialect not in row.dialects or row.name in endpoint.accept or row.endpoint not in endpoint.name:
            continue
        if not (row.name in endpoint.refuse or _is_of(row, endpoint)):
            continue
        for index, item in _items(row.each, body):
            found = [_found(condition, body, item) for condition in row.conditions]
            if all(found):
                values = {"model": endpoint.served_name, "endpoint": endpoint.name, "index": index}
                message = row.message.format(**values, value=json.dumps(found[-1][0])[:80])
                raise ServiceError(400, row.error_code, message)


def _is_of(row: Refusal, endpoint: Endpoint) -> bool:
    return not row.optional and (not row.families or endpoint.refused_as in row.families)


_CONDITION = re.compile(r"(?P<not>!?)(?P<path>[\w.*]+)(?:(?P<sign>!=|\^=|<=|>=|=|<|>)(?P<value>.*))?")


def _found(condition: str, body: Any, item: Any) -> list[Any]:
    """What makes a condition hold; nothing if it does not."""
    read = _CONDITION.fullmatch(condition)
    assert read is not None, condition
    path, sign, wanted = read["path"], read["sign"], read["value"]
    values = list(_values(item, path[1:])) if path.startswith(".") else list(_values(body, path))
    if read["not"] or sign == "!=":
        unwanted = values if sign is None else [value for value in values if value == wanted]
        return [] if unwanted else [None]
    if sign is None:
        return values
    other = next(_values(body, wanted[1:]), None) if wanted.startswith("$") else wanted
    return [value for value in values if _compares(value, sign, other)]


def _compares(value: Any, sign: str, other: Any) -> bool:
    if isinstance(value, bool):
        return sign == "=" and other == json.dumps(value)
    if isinstance(value, str):
        return value.startswith(other) if sign == "^=" else sign == "=" and value == other
    if not isinstance(value, int | float) or sign == "^=":
        return False
    try:
        number = float(other)
    except (TypeError, ValueError):
        return False
    answers = {"<": value < number, "<=": value <= number, ">": value > number, ">=": value >= number}
    return answers.get(sign, value == number)


def _items(each: str, body: Any) -> list[tuple[int | None, Any]]:
    if not each:
        return [(None, None)]
    return list(enumerate(_values(body, f"{each}.*")))


def _values(value: Any, path: str) -> Iterator[Any]:
    """What a path leads to, but for nulls."""
    step, _, rest = path.partition(".")
    under: Sequence[Any]
    if step == "*":
        under = value if isinstance(value, list) else ()
    elif isinstance(value, list):
        under = value[int(step) : int(step) + 1] if step.isdigit() else ()
    else:
        under = (value[step],) if isinstance(value, Mapping) and step in value else ()
    for one in under:
        if rest:
            yield from _values(one, rest)
        elif one is not None:
            yield one
