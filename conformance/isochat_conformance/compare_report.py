"""How does a comparison look, to a person and to a program?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isochat.comparison import Diff
from isochat_conformance.compare import Comparison, Row, Sent

_STYLES = {"same": "green", "different": "bold red", "failed": "bold red"}
# Headers that every request has and that say nothing about the client.
_COMMON = frozenset({"accept-encoding", "authorization", "content-type"})


def print_report(console: Console, comparison: Comparison, place: Mapping[str, Any], logged: Sequence[str]) -> None:
    """Print ``comparison`` for a person."""
    console.print(_title(place))
    if place.get("settings"):
        console.print(f"settings: {place['settings']}", style="dim")
    _print_answer(console, comparison)
    _heading(console, "Side by side")
    console.print(_indented(_side_by_side(comparison)))
    _print_differences(console, comparison)
    _heading(console, "On the wire")
    console.print(_indented(_wire(comparison.rows)))
    _heading(console, "What the bare client hands its user")
    console.print(_indented(_natives(comparison.rows)))
    _heading(console, "Time: until the first byte; in all; in the client's code; in isochat's code")
    console.print(_indented(_times(comparison.rows)))
    if logged:
        _heading(console, f"The workspace logged {len(logged)} requests")
        for line in logged:
            console.print(_indented(Text(line)))
    console.print()
    console.print(_verdict(comparison))


def _title(place: Mapping[str, Any]) -> Text:
    models = ", ".join(str(model) for model in place["models"]) or "no model"
    where = f"a local workspace at {place['host']}" if place["local"] else place["host"] or "the workspace"
    return Text.assemble(
        ("isochat compare", "bold"), ": ", (models, "bold cyan"), f" answered, endpoint {place['endpoint']} of {where}"
    )


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _print_answer(console: Console, comparison: Comparison) -> None:
    params = ", ".join(f"{name} {value}" for name, value in comparison.params.items())
    _heading(console, "Asked")
    console.print(_indented(Text(_shown(comparison.messages))))
    console.print(_indented(Text(params, style="dim")))
    reference = comparison.reference
    if reference is None or reference.result is None:
        return
    result = reference.result
    _heading(console, "Answered")
    console.print(_indented(Text(result.text or "(no text)", style="cyan")))
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
        table.add_row(row.backend, state, meta.client_call if meta else "", (meta.request_id or "") if meta else "")
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
        if row.reason:
            lines.append(row.reason)
        for line in lines:
            console.print(_indented(Text(f"{row.backend}: {line}", style=_STYLES.get(row.state, "yellow"))))
        if row.differences.not_reported:
            text = f"{row.backend}: reported by one of the two protocols only: {_listed(row.differences.not_reported)}"
            console.print(_indented(Text(text, style="dim")))


def _wire(rows: Iterable[Row]) -> Table:
    """Each request; a body that an earlier one had is named, not repeated."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    seen: list[tuple[str, Any]] = []
    for row in rows:
        if row.sent is None:
            continue
        table.add_row(row.backend, f"{row.sent.method} {row.sent.path}")
        same = next((name for name, body in seen if body == row.sent.body), None)
        seen.append((row.backend, row.sent.body))
        body = f"body as {same}" if same else json.dumps(row.sent.body, ensure_ascii=False)
        table.add_row("", Text(body, style="dim"))
        table.add_row("", Text(_client_headers(row.sent), style="dim"))
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
            table.add_row(
                row.backend, row.native, Text(_listed(row.lost) or "nothing", style="" if row.lost else "green")
            )
    return table


def _verdict(comparison: Comparison) -> Text:
    same, different = comparison.count("same"), comparison.count("different")
    total = same + different
    others = [(state, comparison.count(state)) for state in ("failed", "not applicable", "not installed")]
    aside = "".join(f"; {count} {state}" for state, count in others if count)
    if different:
        paths = [difference.path for row in comparison.rows for difference in row.differences]
        paths += [text.partition(":")[0] for row in comparison.rows for text in row.contradictions]
        fields = dict.fromkeys(paths)
        return Text(f"{different} of {total} results differ, in {_listed(list(fields))}{aside}", style="bold red")
    if total == 0:
        return Text("no backend answered", style="bold red")
    if total == 1:
        return Text(f"one result, nothing to compare it with{aside}", style="yellow")
    style = "bold green" if not comparison.count("failed") else "bold yellow"
    return Text(f"{total} results through {total} clients: all the same{aside}", style=style)


def _table(*columns: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in ("backend", "result", "client call"))
    return table


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _listed(paths: Sequence[str]) -> str:
    """Paths for a person: of a first choice there is no need to say that it is the first."""
    return ", ".join(dict.fromkeys(path.removeprefix("choices[0].") for path in paths))


def _shown(messages: Any) -> str:
    if isinstance(messages, str):
        return messages
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def as_json_document(comparison: Comparison, place: Mapping[str, Any], logged: Sequence[str]) -> dict[str, Any]:
    """``comparison`` for a program."""
    return {
        "same": comparison.count("different", "failed") == 0 and comparison.reference is not None,
        **place,
        "messages": comparison.messages,
        "params": dict(comparison.params),
        "rows": [_json_row(row) for row in comparison.rows],
        "requests_logged": list(logged),
    }


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "backend": row.backend,
        "state": row.state,
        "reason": row.reason or None,
        "result": row.result.to_dict() if row.result else None,
        "client_call": row.result.meta.client_call if row.result else None,
        "request_id": row.result.meta.request_id if row.result else None,
        "served_model": row.result.meta.served_model if row.result else None,
        "differences": _json_diff(row.differences),
        "not_reported": row.differences.not_reported,
        "native": row.native or None,
        "lost": row.lost,
        "contradictions": row.contradictions,
        "sent": None if row.sent is None else {
            "method": row.sent.method,
            "path": row.sent.path,
            "body": row.sent.body,
            "headers": dict(row.sent.headers),
        },
        "milliseconds": None if row.timing is None else {
            "first_byte": round(row.timing.first_byte, 3),
            "total": round(row.timing.total, 3),
            "client": round(row.timing.client, 3),
            "isochat": round(row.timing.isochat, 3),
        },
    }  # fmt: skip


def _json_diff(found: Diff) -> list[dict[str, Any]]:
    return [{"field": d.path, "left": d.left, "right": d.right} for d in found]
