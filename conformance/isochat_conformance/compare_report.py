"""How does a comparison look to a person?"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isochat.cli.exits import in_words_of_the_shell
from isochat.cli.printable import printable
from isochat_conformance.compare import Comparison, Row, Sent
from isochat_conformance.compare_stream import Streamed

_STYLES = {"same": "green", "different": "bold red", "failed": "bold red"}
_LAW_STYLES = {"holds": "green", "broken": "bold red", "not checked": "yellow"}
_ARRIVALS = {"as made": "one by one, as made", "together": "all at once: held back?"}
# Headers that every request has and that say nothing about the client.
_COMMON = frozenset({"accept-encoding", "authorization", "content-type"})


def print_report(console: Console, comparison: Comparison, place: Mapping[str, Any], logged: Sequence[str]) -> None:
    """Print ``comparison`` for a person."""
    console.print(_title(comparison, place))
    if place.get("settings"):
        console.print(f"settings: {place['settings']}", style="dim")
    _print_answer(console, comparison)
    _heading(console, f"Side by side: is each result, field by field, that of {_first(comparison)}?")
    console.print(_indented(_side_by_side(comparison)))
    _print_differences(console, comparison)
    if any(row.sent for row in comparison.rows):
        _heading(console, "On the wire")
        console.print(_indented(_wire(comparison.rows)))
    if comparison.reference is None:
        pass  # nothing came back
    elif comparison.streaming is None:
        _heading(console, "What the bare client hands its user")
        console.print(_indented(_natives(comparison.rows)))
        _heading(console, "Time: until the first byte; in all; in the client's code; in isochat's code")
        console.print(_indented(_times(comparison.rows)))
    else:
        _print_streams(console, comparison.rows)
    if logged:
        _heading(console, f"The workspace logged {'one request' if len(logged) == 1 else f'{len(logged)} requests'}")
        for line, repeated in itertools.groupby(logged):
            times = len(list(repeated))
            console.print(_indented(_text(line if times == 1 else f"{line}, {times} times")))
    console.print()
    console.print(_verdict(comparison))


def _title(comparison: Comparison, place: Mapping[str, Any]) -> Text:
    command = "isochat compare" if comparison.streaming is None else "isochat compare --stream"
    models = ", ".join(str(model) for model in place["models"]) or "no model"
    where = f"a local workspace at {place['host']}" if place["local"] else place["host"] or "the workspace"
    endpoint = f"endpoint {place['endpoint']} of " if place["endpoint"] else ""
    return Text.assemble((command, "bold"), ": ", (printable(models), "bold cyan"), f" answered, {endpoint}{where}")


def _text(said: str, style: str = "") -> Text:
    """What a model, a service or a client said: no markup, and no orders to the terminal."""
    return Text(printable(said), style=style)


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _print_answer(console: Console, comparison: Comparison) -> None:
    params = ", ".join(f"{name} {value}" for name, value in comparison.params.items())
    _heading(console, "Asked")
    console.print(_indented(_text(_shown(comparison.messages))))
    console.print(_indented(_text(params, "dim")))
    reference = comparison.reference
    if reference is None or reference.result is None:
        return
    result = reference.result
    _heading(console, "Answered")
    if result.reasoning:
        console.print(_indented(_text(result.reasoning, "dim italic")))
    console.print(_indented(_text(result.text or "(no text)", "cyan")))
    usage = result.usage
    counts = "usage not reported"
    if usage is not None:
        counts = f"{usage.prompt_tokens} + {usage.completion_tokens} = {usage.total_tokens} tokens"
    console.print(_indented(Text(f"finish_reason {result.finish_reason}, {counts}", style="dim")))


def _side_by_side(comparison: Comparison) -> Table:
    table = _table("backend", "result", "client call")
    for row in comparison.rows:
        state = Text(row.state, style=_STYLES.get(row.state, "yellow"))
        table.add_row(row.backend, state, _text(row.result.meta.client_call if row.result else ""))
    return table


def _first(comparison: Comparison) -> str:
    return comparison.reference.backend if comparison.reference else "the first"


def _times(rows: Iterable[Row]) -> Table:
    table = _table("backend", *((name, "right") for name in ("first byte", "total", "client", "isochat")))
    for row in rows:
        if row.timing is not None:
            times = row.timing
            table.add_row(row.backend, *map(_ms, (times.first_byte, times.total, times.client, times.isochat)))
    return table


def _print_differences(console: Console, comparison: Comparison) -> None:
    for row in comparison.rows:
        lines = [str(difference) for difference in row.differences]
        lines += [f"the client's own object says otherwise: {c}" for c in row.contradictions]
        if row.stream is not None:
            lines += row.stream.law.differences
        for line in lines:
            console.print(_indented(_text(f"{row.backend}: {line}", _STYLES.get(row.state, "yellow"))))
        if row.differences.not_reported:
            fields = _listed(row.differences.not_reported)
            text = f"{row.backend}: only one of the two APIs reports these, which counts as no difference: {fields}"
            console.print(_indented(_text(text, "dim")))
    told: dict[tuple[str, str], list[str]] = {}
    for row in comparison.rows:
        if row.reason:
            told.setdefault((_why(row), row.state), []).append(row.backend)
    for (why, state), backends in told.items():
        console.print(_indented(_text(f"{', '.join(backends)}: {why}", _STYLES.get(state, "yellow"))))


def _why(row: Row) -> str:
    """Why there is no result: once for all that have the same reason; which request it was stands on the wire."""
    error = row.error
    if error is None:
        return row.reason
    facts = [f"{name} {value}" for name, value in (("status", error.status_code), ("code", error.code)) if value]
    said = " ".join(error.message.split()) + (f" ({', '.join(facts)})" if facts else "")
    return in_words_of_the_shell(f"{said}. {error.remedy}" if error.remedy else said)


def _wire(rows: Iterable[Row]) -> Table:
    """Each request; a body that an earlier one had is named, not repeated."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    seen: list[tuple[str, Any]] = []
    for row in rows:
        if row.sent is None:
            continue
        table.add_row(row.backend, _text(f"{row.sent.method} {row.sent.path}"))
        same = next((name for name, body in seen if body == row.sent.body), None)
        seen.append((row.backend, row.sent.body))
        body = f"the same body as {same}" if same else json.dumps(row.sent.body, ensure_ascii=False)
        table.add_row("", _text(body, "dim"))
        for line in _client_headers(row.sent):
            table.add_row("", _text(line, "dim"))
        if request_id := row.result.meta.request_id if row.result else row.error and row.error.request_id:
            table.add_row("", _text(f"answered as request {request_id}", "dim"))
    return table


def _client_headers(sent: Sent) -> Iterator[str]:
    own = {name: value for name, value in sent.headers.items() if name.lower() not in _COMMON}
    agent = own.pop("User-Agent", own.pop("user-agent", ""))
    if agent:
        yield f"User-Agent: {agent}"
    if own:
        yield f"further headers: {_folded(sorted(own))}"


def _folded(names: Sequence[str]) -> str:
    """Header names, a family of them (x-stainless-...) as one."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault("-".join(name.split("-")[:2]) if name.lower().startswith("x-") else name, []).append(name)
    return ", ".join(members[0] if len(members) == 1 else f"{stem}-*" for stem, members in families.items())


def _natives(rows: Iterable[Row]) -> Table:
    table = _table("backend", "its object", "lacks of the result")
    for row in rows:
        if row.result is not None:
            lost = _text(_listed(row.lost)) if row.lost else Text("nothing", style="green")
            table.add_row(row.backend, _text(row.native), lost)
    return table


def _print_streams(console: Console, rows: Iterable[Row]) -> None:
    streams = [(row.backend, row.stream) for row in rows if row.stream is not None and row.stream.timing is not None]
    _heading(console, "The streams: does each fold to the plain answer (the chunk law) and come as it is made?")
    table = _table("backend", ("chunks", "right"), ("with text", "right"), "chunk law", "came")
    for backend, stream in streams:
        law = Text(stream.law.state, style=_LAW_STYLES[stream.law.state])
        came = Text(_ARRIVALS.get(stream.arrival, stream.arrival), "yellow" if stream.arrival == "together" else "")
        table.add_row(backend, str(stream.chunks), str(stream.with_text), law, came)
    console.print(_indented(table))
    for reason in dict.fromkeys(stream.law.reason for _, stream in streams if stream.law.reason):
        console.print(_indented(_text(f"not checked: {reason}", "dim")))
    if any(stream.arrival == "together" for _, stream in streams):
        told = "all at once: one burst after a wait; something on the way held it back, or the model is that quick"
        console.print(_indented(Text(told, style="dim")))
    _heading(
        console, "Time until the head, first chunk, first text; longest gap; in all; in the client's, isochat's code"
    )
    console.print(_indented(_stream_times(streams)))


def _stream_times(streams: Iterable[tuple[str, Streamed]]) -> Table:
    names = ("head", "chunk", "text", "gap", "total", "client", "isochat")
    table = _table("backend", *((name, "right") for name in names))
    for backend, stream in streams:
        if stream.timing is not None:
            table.add_row(backend, *("" if ms is None else _ms(ms) for ms in msgspec.structs.astuple(stream.timing)))
    return table


def _verdict(comparison: Comparison) -> Text:
    same, different = comparison.count("same"), comparison.count("different")
    total = same + different
    others = [(state, comparison.count(state)) for state in ("failed", "not applicable", "not installed")]
    aside = "".join(f"; {count} {state}" for state, count in others if count)
    what = "results" if comparison.streaming is None else "streams"
    if different:
        fields = dict.fromkeys(_paths_of_difference(comparison.rows))
        return _text(f"{different} of {total} {what} differ, in {_listed(list(fields))}{aside}", "bold red")
    if total == 0:
        return Text("no backend answered", style="bold red")
    laws = [row.stream.law.state for row in comparison.rows if row.stream is not None and row.result is not None]
    proved = "; folded, each is the plain answer" if laws and set(laws) == {"holds"} else ""
    if total == 1:
        return Text(f"one {what[:-1]}, nothing to compare it with{proved}{aside}", style="yellow")
    style = "bold green" if not comparison.count("failed") else "bold yellow"
    return Text(f"{total} {what} through {total} clients: all the same{proved}{aside}", style=style)


def _paths_of_difference(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield from (difference.path for difference in row.differences)
        yield from (text.partition(":")[0] for text in row.contradictions)
        if row.stream is not None:
            yield from (text.partition(":")[0] for text in row.stream.law.differences)


def _table(*columns: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in ("backend", "result", "client call"))
    return table


def _ms(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _listed(paths: Sequence[str]) -> str:
    """Paths for a person: of a first choice there is no need to say that it is the first."""
    return ", ".join(dict.fromkeys(path.removeprefix("choices[0].") for path in paths))


def _shown(messages: Any) -> str:
    if isinstance(messages, str):
        return messages
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
