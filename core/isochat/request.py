"""What exactly is asked of the endpoint?

``build`` turns messages and parameters into a :class:`Request`, the one thing a backend is given: checked, and
with its JSON body already in the API that the backend speaks.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from isochat.errors import InvalidInputError, UnsupportedParameterError
from isochat.messages import read_messages
from isochat.notes import Api as Api
from isochat.notes import Notes
from isochat.notes import OnUnsupported as OnUnsupported
from isochat.output_types import OutputType, is_type, output_type
from isochat.parameters import ALIASES, BY_NAME, CALL_OPTIONS, UNSET, NotCarried, Reshaped, fits
from isochat.text_safety import check_endpoint, check_headers
from isochat.wire_format.chat_history import for_chat_completions
from isochat.wire_format.input_items import for_responses
from isochat.wire_format.json_text import check_sendable, type_name
from isochat.wire_format.turn_items import without

# What extra_body may not replace: isochat and the client own these.
_RESERVED_BODY = ("messages", "input", "model", "stream")


class Request(msgspec.Struct, frozen=True, eq=False):
    """One chat request, ready to be sent.

    Attributes:
        endpoint: Name of the serving endpoint, safe to stand in a URL.
        path: What stands for the endpoint in an invocations path: its name, with ``/served-models/{name}`` where one
            served model is asked for.
        api: The dialect of ``body``.
        body: The JSON body without ``model``; the backend adds it where its path does not name the endpoint.
        messages: The conversation as chat-completion mappings, whatever the dialect.
        headers: The caller's own headers; the wire adds them.
        warnings: What was added, dropped, left out or rewritten so that this API can carry the request.
        output: The type that the answer is to have, where ``response_format`` is one.
    """

    endpoint: str
    api: Api
    body: dict[str, Any]
    messages: tuple[dict[str, Any], ...]
    path: str
    headers: dict[str, str] = {}
    warnings: tuple[str, ...] = ()
    output: OutputType | None = None


class Options(msgspec.Struct, frozen=True):
    """How one call is carried: silence and deadline in seconds, further attempts."""

    timeout: float
    deadline: float
    max_retries: int


def call_options(params: dict[str, Any], defaults: Options) -> Options:
    """Take the options of one call out of ``params``.

    Raises:
        InvalidInputError: a time that is not positive, a number of retries that is not whole.
    """
    values = {name: params.pop(name, None) for name in ("timeout", "deadline", "max_retries")}
    given = {name: value for name, value in values.items() if value is not None and value is not UNSET}
    if not given:
        return defaults
    for name in ("timeout", "deadline"):
        if name in given:
            check_seconds(given[name], name)
    if "max_retries" in given:
        check_retries(given["max_retries"])
    return msgspec.structs.replace(defaults, **given)


def check_seconds(value: Any, name: str) -> None:
    """Raises InvalidInputError unless ``value`` is a positive number of seconds or ``math.inf``."""
    if not fits(value, "number") or math.isnan(value) or value <= 0:
        raise InvalidInputError(f"{name} is {value!r}", remedy="Give seconds above 0, or math.inf for no limit")


def check_retries(value: Any) -> None:
    """Raises InvalidInputError unless ``value`` is a whole number from 0 up."""
    if not fits(value, "integer") or value < 0:
        raise InvalidInputError(f"max_retries is {value!r}", remedy="Give 0 or a positive whole number")


def check_parameter(name: str, value: Any) -> None:
    """Raises InvalidInputError unless ``value`` may be given as the parameter or call option ``name``."""
    match name:
        case "timeout" | "deadline":
            check_seconds(value, name)
        case "max_retries":
            check_retries(value)
        case "extra_body":
            _checked_extra_body(value)
        case "extra_headers":
            check_headers(value, name)
        case _:
            kind = BY_NAME[name].kind
            if not fits(value, kind):
                shown = repr(value) if not isinstance(value, int) or value.bit_length() < 64 else "a long one"
                raise InvalidInputError(f"{name} is {type_name(value)} ({shown:.60}); expected {_articled(kind)}")
            if not (kind == "object or type" and is_type(value)):
                check_sendable(value, name)


def build(
    endpoint: str,
    api: Api,
    messages: Any,
    params: Mapping[str, Any],
    defaults: Mapping[str, Any],
    on_unsupported: OnUnsupported = "raise",
    served_model: str | None = None,
) -> Request:
    """Check a call's messages and parameters and write the body that carries them.

    Args:
        defaults: The target's parameters, which hold where the call says nothing or ``None``.

    Raises:
        InvalidInputError: messages or a parameter of the wrong type or value.
        UnsupportedParameterError: an unknown parameter, or one that ``api`` cannot carry.
        UnsafeInputError: a name, header or text that would break out of its place.
    """
    plain = read_messages(messages)
    given, extra_body, extra_headers = _given(params, defaults)
    output = output_type(given["response_format"]) if is_type(given.get("response_format")) else None
    if output is not None:
        given["response_format"] = output.response_format
    notes = Notes(api, on_unsupported)
    if api == "chat-completions":
        said = for_chat_completions(plain, notes)
        body: dict[str, Any] = {"messages": said, **given}
    else:
        said = list(plain)
        body = {"input": for_responses(plain, notes), **_responses_fields(given, notes)}
    for name, value in extra_body.items():
        body[name] = _joined(name, body.get(name), value) if api == "responses" else value
    path = check_endpoint(endpoint) + (f"/served-models/{served_model}" if served_model else "")
    return Request(endpoint, api, body, tuple(said), path, extra_headers, tuple(notes.warnings), output)


def _given(
    params: Mapping[str, Any], defaults: Mapping[str, Any]
) -> tuple[dict[str, Any], Mapping[str, Any], dict[str, str]]:
    merged: dict[str, Any] = {ALIASES.get(name, name): value for name, value in defaults.items()}
    # What removes a target's value comes first: it takes nothing from what the call itself says by the other name.
    for name, value in sorted(params.items(), key=lambda item: item[1] is not UNSET):
        known = ALIASES.get(name, name)
        if known not in BY_NAME and known not in CALL_OPTIONS:
            raise UnsupportedParameterError(f"unknown parameter {name!r}", remedy=_nearest(name))
        if known != name and value not in (None, UNSET) and params.get(known) not in (None, UNSET):
            raise InvalidInputError(f"{name} and {known} are one parameter; both are given", remedy=f"Keep {known}")
        if value is UNSET:
            merged.pop(known, None)
        elif value is not None:
            merged[known] = value
    extra_body = merged.pop("extra_body", None) or {}
    extra_headers = merged.pop("extra_headers", None) or {}
    for name, value in merged.items():
        check_parameter(name, value)
    return merged, _checked_extra_body(extra_body), check_headers(extra_headers, "extra_headers")


def _checked_extra_body(extra_body: Any) -> Mapping[str, Any]:
    if not isinstance(extra_body, Mapping):
        raise InvalidInputError(f"extra_body is {type_name(extra_body)}; expected an object")
    reserved = [name for name in _RESERVED_BODY if name in extra_body]
    if reserved:
        raise InvalidInputError(
            f"extra_body may not replace {', '.join(reserved)}", remedy="Pass messages and endpoint as arguments"
        )
    check_sendable(dict(extra_body), "extra_body")
    return extra_body


def _joined(name: str, ours: Any, theirs: Any) -> Any:
    """What ``extra_body`` says, joined with what parameters have put into the same field of a Responses body."""
    if name in ("reasoning", "text") and isinstance(ours, dict) and isinstance(theirs, Mapping):
        return {**ours, **theirs}
    if name == "include" and isinstance(ours, list) and isinstance(theirs, list | tuple):
        return [*ours, *(value for value in theirs if value not in ours)]
    return theirs


def _responses_fields(given: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in given.items():
        place = BY_NAME[name].responses
        if isinstance(place, NotCarried):
            notes.unsupported(name, place.reason)
            continue
        if isinstance(place, Reshaped):
            if place.lacks is not None:
                value = _without_field(name, value, place.lacks, notes)
            if place.adds is not None and (added := place.adds(value)) is not None:
                notes.added(added)
            value, place = place.shape(value), place.path
            if value is None:
                continue
        *parents, last = place.split(".")
        target = body
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return body


def _without_field(name: str, items: Sequence[Any], field: str, notes: Notes) -> list[Any]:
    kept = []
    for index, item in enumerate(items):
        if isinstance(item, Mapping) and field in item:
            if item[field] is not None:
                notes.unsupported(f"{name}[{index}].{field}", "the Responses API has no such field")
            item = without(item, field)
        kept.append(item)
    return kept


def _nearest(name: str) -> str:
    from isochat.config.settings import BY_NAME as SETTINGS

    if name in SETTINGS:
        return f"It belongs to the client: isochat.Client({name}=...)"
    known = [*BY_NAME, *ALIASES, *CALL_OPTIONS]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}What the endpoint takes beyond the named parameters goes into extra_body="


def _articled(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else kind if kind.startswith("text") else f"a {kind}"
