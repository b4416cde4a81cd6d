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
    _heading(console, "Side by side")
    console.print(_indented(_side_by_side(comparison)))
    _print_differences(console, comparison)
    _heading(console, "On the wire")
    console.print(_indented(_wire(comparison.rows)))
    if comparison.streaming is None:
        _heading(console, "What the bare client hands its user")
        console.print(_indented(_natives(comparison.rows)))
        _heading(console, "Time: until the first byte; in all; in the client's code; in isochat's code")
        console.print(_indented(_times(comparison.rows)))
    else:
        _print_streams(console, comparison.rows)
    if logged:
        _heading(console, f"The workspace logged {len(logged)} requests")
        for line, repeated in itertools.groupby(logged):
            times = len(list(repeated))
            console.print(_indented(_text(line if times == 1 else f"{line}, {times} times")))
    console.print()
    console.print(_verdict(comparison))


def _title(comparison: Comparison, place: Mapping[str, Any]) -> Text:
    command = "isochat compare" if comparison.streaming is None else "isochat compare --stream"
    models = ", ".join(str(model) for model in place["models"]) or "no model"
    where = f"a local workspace at {place['host']}" if place["local"] else place["host"] or "the workspace"
    return Text.assemble(
        (command, "bold"),
        ": ",
        (printable(models), "bold cyan"),
        f" answered, endpoint {place['endpoint']} of {where}",
    )


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
    table = _table("backend", "result", "client call", "request id")
    for row in comparison.rows:
        state = Text(row.state, style=_STYLES.get(row.state, "yellow"))
        meta = row.result.meta if row.result else None
        table.add_row(
            row.backend, state, _text(meta.client_call if meta else ""), _text((meta.request_id or "") if meta else "")
        )
    return table


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
        if row.reason:
            lines.append(row.reason)
        for line in lines:
            console.print(_indented(_text(f"{row.backend}: {line}", _STYLES.get(row.state, "yellow"))))
        if row.differences.not_reported:
            text = f"{row.backend}: reported by one of the two protocols only: {_listed(row.differences.not_reported)}"
            console.print(_indented(_text(text, "dim")))


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
        body = f"body as {same}" if same else json.dumps(row.sent.body, ensure_ascii=False)
        table.add_row("", _text(body, "dim"))
        table.add_row("", _text(_client_headers(row.sent), "dim"))
    return table


def _client_headers(sent: Sent) -> str:
    own = {name: value for name, value in sent.headers.items() if name.lower() not in _COMMON}
    agent = own.pop("User-Agent", own.pop("user-agent", ""))
    rest = _folded(sorted(own))
    return f"{agent}" + (f"; {rest}" if rest else "")


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
