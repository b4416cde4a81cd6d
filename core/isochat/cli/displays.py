"""How does an answer look, as it comes or whole: on a terminal, in a pipe, as lines of JSON?

Each kind is given the chunks as they come and then the result, or the result alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Protocol

import click
import msgspec
from rich.console import Console
from rich.text import Text

from isochat.call import LEFT_OUT
from isochat.cli.printable import printable
from isochat.notes import ADDED
from isochat.results import ChatResult, ToolCall
from isochat.streaming.chunks import ChatChunk
from isochat.streaming.reading import COMPLETION_UNPROVEN, USAGE_MISSING, WHOLE_REPLY

_WARNINGS = {
    COMPLETION_UNPROVEN: "the stream ended cleanly, but nothing in it says that the agent was done",
    USAGE_MISSING: "token counts were asked for and did not come",
    WHOLE_REPLY: "the endpoint sent its answer whole instead of streaming it",
}
# Where nobody asked for a stream and no counts are shown, these tell nothing of the answer.
_OF_THE_STREAM_ALONE = (USAGE_MISSING, WHOLE_REPLY, LEFT_OUT)
_STYLES = {"reasoning": {"dim": True, "italic": True}}
_EXPECTED_ENDS = (None, "stop", "tool_calls")


class Display(Protocol):
    """Where an answer is shown."""

    def add(self, chunk: ChatChunk) -> None:
        """Show what has come, at once."""
        ...

    def end(self, result: ChatResult) -> None:
        """The answer is complete, and this is all of it; chunks may have shown a part of it or nothing."""
        ...

    def broken(self, partial: ChatResult) -> None:
        """The stream broke off: what has come is shown, and whatever is printed next begins a line of its own."""
        ...

    def left(self, partial: ChatResult) -> None:
        """The reader has left (Ctrl-C): what has come is shown."""
        ...


class InPipe:
    """The text of the answer and nothing else, byte for byte the same whether streamed or not.

    Args:
        at_once: Also write an agent's text as it comes. An agent may go on after what looks like its answer; the text
            of the result is the last of its texts, so that until the end only a model's own text is sure to stay.
    """

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once
        self._written = False
        self._place: Any = None

    def add(self, chunk: ChatChunk) -> None:
        if not chunk.text or chunk.index:
            return
        if self._at_once or (isinstance(chunk.raw, Mapping) and "choices" in chunk.raw):
            place = _place(chunk.raw)
            if self._written and place != self._place:
                _write("\n")
            self._place = place
            self._written = True
            _write(chunk.text)

    def end(self, result: ChatResult) -> None:
        _write("\n" if self._written else f"{result.text}\n")
        for call in result.tool_calls if result.choices else ():
            _tell(f"tool call: {_in_one_line(call)}")
        for warning in _told(result):
            if self._at_once or warning not in _OF_THE_STREAM_ALONE:
                _tell(f"warning: {_in_words(warning)}")

    def broken(self, partial: ChatResult) -> None:
        rest = "" if self._written else partial.text
        if self._written or rest:
            _write(f"{rest}\n")

    left = broken


class OnTerminal:
    """Text as it comes, reasoning apart from it, tool calls below, and a footer on stderr."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._section = ""
        self._place: Any = None
        self._thought = False
        self._in_line = False

    def add(self, chunk: ChatChunk) -> None:
        if chunk.index:
            return
        place = _place(chunk.raw)
        if chunk.reasoning:
            self._say("reasoning", chunk.reasoning, place)
        if chunk.text:
            self._say("answer", chunk.text, place)

    def end(self, result: ChatResult) -> None:
        if not self._section and result.choices:
            if result.reasoning:
                self._say("reasoning", result.reasoning)
            self._say("answer", result.text)
        if result.choices and result.message.refusal:
            self._say("refusal", result.message.refusal)
        for call in result.tool_calls if result.choices else ():
            self._say("tool calls", f"  {_shown(call, self._console.width)}\n")
        self._end_line()
        footer = Console(stderr=True, highlight=False)
        footer.print(_footer(result), soft_wrap=True)
        for warning in _told(result):
            footer.print(Text(_in_words(warning), style="yellow"), soft_wrap=True)

    def broken(self, partial: ChatResult) -> None:
        self._end_line()

    def left(self, partial: ChatResult) -> None:
        pass  # all of it stands there, and the command line ends the line in which the ^C stands

    def _say(self, section: str, text: str, place: Any = None) -> None:
        if section != self._section or place != self._place:
            text = text.lstrip("\n")
            if not text:
                return
            self._begin(section)
            self._place = place
        self._write(text, **_STYLES.get(section, {}))

    def _begin(self, section: str) -> None:
        if self._section:
            self._end_line()
            self._write("\n")
        if section != self._section and (section != "answer" or self._thought):
            self._write(section, bold=True)
            self._write("\n")
        self._section = section
        self._thought |= section == "reasoning"

    def _end_line(self) -> None:
        if self._in_line:
            self._write("\n")

    def _write(self, text: str, **style: bool) -> None:
        shown = printable(text)
        if style and self._console.color_system is not None:
            shown = click.style(shown, **style)
        click.echo(shown, nl=False)
        self._in_line = not text.endswith("\n")


class AsJsonLines:
    """A line ``{"chunk": ...}`` for each chunk, then one ``{"result": ...}``."""

    def add(self, chunk: ChatChunk) -> None:
        told = msgspec.to_builtins(msgspec.structs.replace(chunk, _raw=None))
        del told["_raw"]
        _write(json.dumps({"chunk": told}, ensure_ascii=False) + "\n")

    def end(self, result: ChatResult) -> None:
        _write(json.dumps({"result": as_json_document(result)}, ensure_ascii=False) + "\n")

    def broken(self, partial: ChatResult) -> None:
        pass  # the chunks were whole lines

    left = broken


def as_json_document(result: ChatResult) -> dict[str, Any]:
    """``result`` for a program: OpenAI's shape, and ``meta`` beside it."""
    meta = result.meta
    return {
        **result.to_dict(),
        "meta": {
            "backend": meta.backend,
            "endpoint": meta.endpoint,
            "client_call": meta.client_call,
            "request_id": meta.request_id,
            "served_model": meta.served_model,
            "status_code": meta.status_code,
            "elapsed": round(meta.elapsed, 6),
            "attempts": meta.attempts,
            "warnings": list(meta.warnings),
        },
    }


def _told(result: ChatResult) -> list[str]:
    """The warnings for people: not of what was added, by which nothing is lost."""
    return [warning for warning in result.meta.warnings if not warning.startswith(f"{ADDED} ")]


def _write(text: str) -> None:
    # Not by click.echo: in a pipe it would take colour codes out of what the model wrote.
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(line: str) -> None:
    click.echo(f"isochat: {line}", err=True)


def _place(raw: Any) -> Any:
    """Which of several texts an event belongs to: an agent says more than one, a model's summaries are several."""
    if not isinstance(raw, Mapping) or "choices" in raw:
        return None
    delta = raw.get("delta")
    if isinstance(delta, Mapping):
        return delta.get("id")
    return raw.get("output_index"), raw.get("summary_index")


def _in_words(warning: str) -> str:
    words = _WARNINGS.get(warning)
    return printable(warning) if words is None else f"{words} ({warning})"


def _in_one_line(call: ToolCall) -> str:
    return printable(f"{call.function.name}({' '.join(call.function.arguments.split())})")


def _shown(call: ToolCall, width: int) -> str:
    """A call as code would write it: in one line where it fits, else with its arguments below each other."""
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except ValueError:
        return f"{call.function.name}({call.function.arguments})  (these arguments are not JSON)"
    line = json.dumps(arguments, ensure_ascii=False) if arguments else ""
    if len(call.function.name) + len(line) + 4 > width:
        line = json.dumps(arguments, ensure_ascii=False, indent=2).replace("\n", "\n  ")
    return f"{call.function.name}({line})"


def _footer(result: ChatResult) -> Text:
    meta, usage = result.meta, result.usage
    reason = result.finish_reason if result.choices else None
    facts = [(meta.client_call, "dim"), (meta.served_model or result.model or "", "dim")]
    facts.append((reason or "", "dim" if reason in _EXPECTED_ENDS else "yellow"))
    if usage is not None and usage.total_tokens is not None:
        facts.append((f"{usage.total_tokens} tokens", "dim"))
    facts.append((f"{meta.elapsed:.2f} s", "dim"))
    return Text(" · ", style="dim").join(Text(printable(fact), style) for fact, style in facts if fact)
