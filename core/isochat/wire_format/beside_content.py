"""What does a chat completion's message say beside its content: annotations of OpenAI's web search, spoken words?

Both become parts of the result. Neither goes back into a conversation as it came: a request's message has no
``annotations``, and of ``audio`` it takes the id alone (OpenAI's chat reference, guides to web search and audio).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from isochat.results import OtherPart, Part, TextPart

_URL_CITATION = "url_citation"


def read_cited(content: str, annotations: Any) -> tuple[TextPart, ...]:
    """The text of a message with its ``annotations`` as citations; nothing where it has none of the one or the other.

    They are flat, as the Responses API writes them; chat completions nest a URL citation's fields one level deeper.
    """
    if not content or not annotations or not isinstance(annotations, list | tuple):
        return ()
    citations = tuple(_flat(one) for one in annotations)
    return (TextPart(content, citations, wire={"type": "text", "text": content}),)


def read_spoken(audio: Any) -> tuple[OtherPart, ...]:
    """The part for a message's ``audio``: id, data in base64, transcript, time of expiry."""
    if not isinstance(audio, dict) or not audio:
        return ()
    return (OtherPart("audio", audio, wire={"audio": {"id": audio.get("id")}}),)


def is_spoken(part: Part) -> TypeGuard[OtherPart]:
    """Whether ``part`` stands beside the content, as ``audio``, and not in it as a block of that type."""
    return isinstance(part, OtherPart) and isinstance(part.wire, dict) and part.wire.keys() == {"audio"}


def write_beside_content(parts: Sequence[Part]) -> dict[str, Any]:
    """The fields ``annotations`` and ``audio`` of an answer, as far as its parts call for them."""
    beside: dict[str, Any] = {}
    texts = [part for part in parts if isinstance(part, TextPart)]
    cited = texts[0].citations if len(texts) == 1 else ()
    if cited and all(isinstance(one, Mapping) and one.get("type") == _URL_CITATION for one in cited):
        beside["annotations"] = [
            {"type": _URL_CITATION, _URL_CITATION: {name: value for name, value in one.items() if name != "type"}}
            for one in cited
        ]
    spoken = [part.data for part in parts if is_spoken(part)]
    return {**beside, "audio": spoken[0]} if spoken else beside


def write_reference(parts: Sequence[Part]) -> dict[str, Any]:
    """The field ``audio`` of a request's message: which spoken words are meant, by their id."""
    ids = [part.wire["audio"] for part in parts if is_spoken(part) and part.wire["audio"]["id"] is not None]
    return {"audio": ids[0]} if ids else {}


def _flat(citation: Any) -> Any:
    inner = (
        citation.get(_URL_CITATION) if isinstance(citation, dict) and citation.get("type") == _URL_CITATION else None
    )
    return {"type": _URL_CITATION, **inner} if isinstance(inner, dict) else citation
