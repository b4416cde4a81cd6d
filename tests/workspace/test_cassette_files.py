"""Is a cassette read without mercy and written so that no killed recorder spoils it?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isochat_workspace import CassetteError, StreamReply
from isochat_workspace.recording.cassette_file import LARGEST, CassetteWriter, is_cassette, read_cassette
from isochat_workspace.recording.exchange import Exchange, question_of, write_exchange

Until = Callable[[Callable[[], bool]], None]
HEAD = '{"isochat_cassette": 1}\n'


def exchange(body: bytes = b'{"b": 1, "a": 2}', pieces: tuple[bytes, ...] = (b'{"ok":true}',)) -> Exchange:
    reply = StreamReply(200, (("content-type", "application/json"),), pieces, framing="content-length")
    return Exchange(question_of("POST", "/p", body, "me"), reply)


GOOD = write_exchange(exchange()).decode()


def test_an_exchange_is_written_for_people_with_sorted_keys_of_the_request() -> None:
    assert GOOD == (
        '{\n  "request": {"method": "POST", "target": "/p", "client": "me", "json": {"a": 2, "b": 1}},\n'
        '  "reply": {\n    "status": 200,\n    "headers": [["content-type", "application/json"]],\n'
        '    "json": {"ok": true}\n  }\n}\n'
    )


def test_what_is_appended_is_read_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "c"
    for number in range(3):
        writer = CassetteWriter(path)
        assert writer.kept == number
        writer.write(exchange(str(number).encode()))
        writer.close()
    read = read_cassette(path)
    assert [entry.exchange.question.json for entry in read.entries] == [0, 1, 2]
    assert [entry.line for entry in read.entries] == [2, 10, 18]
    assert path.read_text().startswith(HEAD)


@pytest.mark.parametrize("cut", range(1, len(HEAD + GOOD + GOOD)))
def test_a_torn_last_exchange_is_told_apart_and_cut_off(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text((HEAD + GOOD + GOOD)[:cut])
    whole = max(0, (cut + 1 - len(HEAD)) // len(GOOD))
    read = read_cassette(path)
    assert len(read.entries) == whole
    writer = CassetteWriter(path)
    writer.write(exchange(b"9"))
    writer.close()
    read = read_cassette(path)
    assert [entry.exchange.question.json for entry in read.entries] == [*[{"a": 2, "b": 1}] * whole, 9]
    assert read.torn is None


def test_an_editors_byte_order_mark_and_line_ends_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(("\ufeff" + HEAD + GOOD + GOOD[:-20]).replace("\n", "\r\n").encode())
    assert is_cassette(path)
    assert len(read_cassette(path).entries) == 1
    writer = CassetteWriter(path)
    writer.write(exchange(b"9"))
    writer.close()
    assert [entry.exchange.question.json for entry in read_cassette(path).entries] == [{"a": 2, "b": 1}, 9]


def test_an_exchange_torn_inside_a_character_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "c"
    whole = write_exchange(exchange('"Zoë"'.encode()))
    path.write_bytes(HEAD.encode() + whole + whole[: whole.index(b"\xc3") + 1])
    assert len(read_cassette(path).entries) == 1
    writer = CassetteWriter(path)
    assert writer.mended
    writer.close()
    assert path.read_bytes() == HEAD.encode() + whole


def test_a_recorder_that_is_killed_leaves_a_cassette(tmp_path: Path, until: Until) -> None:
    path = tmp_path / "c"
    program = (
        "import sys\n"
        "from isochat_workspace.recording.cassette_file import CassetteWriter\n"
        "from isochat_workspace.recording.exchange import Exchange, question_of\n"
        "from isochat_workspace import StreamReply\n"
        "writer = CassetteWriter(sys.argv[1])\n"
        "reply = StreamReply(200, (), (b'x' * 100_000,), framing='content-length')\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    writer.write(Exchange(question_of('POST', '/p', b'{}'), reply))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
        until(lambda: path.stat().st_size > 1_000_000)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert len(read_cassette(path).entries) >= 9
    writer = CassetteWriter(path)  # nobody holds it any more
    writer.close()


def test_two_recorders_do_not_write_one_file(tmp_path: Path) -> None:
    writer = CassetteWriter(tmp_path / "c")
    with pytest.raises(CassetteError, match="another recorder writes the cassette"):
        CassetteWriter(tmp_path / "c")
    writer.close()
    CassetteWriter(tmp_path / "c").close()


def test_a_full_disk_leaves_what_was_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = CassetteWriter(tmp_path / "c")
    writer.write(exchange())
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:20]))
    with pytest.raises(CassetteError, match="the disk is full"):
        writer.write(exchange())
    monkeypatch.undo()
    writer.close()
    assert (tmp_path / "c").read_text() == HEAD + GOOD


def changed(**changes: Any) -> str:
    document = json.loads(GOOD)
    for place, value in changes.items():
        part, _, key = place.partition("_")
        if value is None:
            del document[part][key]
        else:
            document[part][key] = value
    return json.dumps(document, indent=1) + "\n"


HOSTILE = {
    "no cassette": ('{"a": 1}\n', "line 1: this is no cassette"),
    "text": ("hello\n", "line 1: this is no cassette"),
    "newer": ('{"isochat_cassette": 2}\n', "line 1, key 'isochat_cassette': version 2; this isochat reads version 1"),
    "true": ('{"isochat_cassette": true}\n', "line 1, key 'isochat_cassette': version true"),
    "head": ('{"isochat_cassette": 1, "x": 1}\n', "line 1, key 'x': the first line has the unknown key 'x'"),
    "broken": (HEAD + GOOD.replace('"/p"', "/p") + GOOD, "line 3: this is no JSON: Expecting value"),
    "list": (HEAD + "[\n]\n" + GOOD, "line 2: an exchange is []; expected an object"),
    "unknown": (
        HEAD + GOOD.replace('"status"', '"stauts"'),
        "line 5, key 'stauts': reply has the unknown key 'stauts'",
    ),
    "top": (HEAD + GOOD.replace('"reply"', '"replay"'), "line 4, key 'replay': an exchange has the unknown key"),
    "twice": (HEAD + GOOD.replace('"status": 200,', '"status": 200,\n    "status": 201,'), "line 6, key 'status': "),
    "twice inside": (HEAD + GOOD.replace('"ok": true', '"ok": true, "ok": 1'), "line 7, key 'ok': "),
    "missing": (HEAD + changed(reply_status=None), "key 'reply': reply has no status"),
    "method": (HEAD + changed(request_method="get it"), "key 'method': method is \"get it\"; expected a method"),
    "target": (HEAD + changed(request_target="http://elsewhere"), "key 'target'"),
    "status": (
        HEAD + changed(reply_status="200"),
        "key 'status': status is \"200\"; expected a number from 200 to 599",
    ),
    "early": (HEAD + changed(reply_status=101), "key 'status'"),
    "header": (HEAD + changed(reply_headers=[["a", "b\r\nc: d"]]), "key 'headers'"),
    "header name": (HEAD + changed(reply_headers=[["a:", "b"]]), "key 'headers'"),
    "header list": (HEAD + changed(reply_headers={"a": "b"}), 'key \'headers\': headers has {"a": "b"}'),
    "framing": (HEAD + changed(reply_framing="morse"), "key 'framing': framing is \"morse\"; it may be content-length"),
    "end": (HEAD + changed(reply_end=["cut"]), "key 'end'"),
    "style": (HEAD + changed(reply_style="baroque"), "key 'style'"),
    "length": (HEAD + changed(reply_length=-1), "key 'length'"),
    "two bodies": (HEAD + changed(reply_text="x"), "key 'text': reply has json and text; expected one of them"),
    "base64": (HEAD + changed(reply_json=None, reply_base64="***"), "key 'base64': base64 is no base64"),
    "pieces": (HEAD + changed(reply_json=None, reply_pieces="x"), "key 'pieces'"),
    "piece": (HEAD + changed(reply_json=None, reply_pieces=[{"dat": 1}]), "key 'dat': a piece has the unknown key"),
    "half": (HEAD + changed(reply_json=None, reply_text="\ud800"), "key 'text': text holds half of a surrogate pair"),
    "NaN": (HEAD + GOOD.replace('"ok": true', '"ok": NaN'), "NaN is not JSON"),
    "deep": (HEAD + GOOD.replace("true", "[" * 200 + "]" * 200), "nested deeper"),
    "very deep": (HEAD + GOOD.replace("true", "[" * 100_000 + "]" * 100_000), "no JSON"),
    "no UTF-8": (HEAD + GOOD.replace("me", "\udcff") + GOOD, "line 3: this is no UTF-8"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_file_line_and_key(name: str, tmp_path: Path) -> None:
    text, told = HOSTILE[name]
    path = tmp_path / "odd.cassette"
    path.write_bytes(text.encode("utf-8", "surrogateescape") if "\udcff" in text else text.encode())
    for use in (read_cassette, CassetteWriter):
        with pytest.raises(CassetteError) as caught:
            use(path)
        assert told in caught.value.message
        assert caught.value.message.startswith(str(path))
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 400
    assert path.stat().st_size == len(text.encode("utf-8", "replace")) or "\udcff" in text


def test_a_file_larger_than_the_cap_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(CassetteError, match="larger than 64 MiB"):
        read_cassette(path)


def test_the_recorder_stops_at_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_text(HEAD + GOOD)
    writer = CassetteWriter(path)
    with path.open("ab") as file:
        file.write(b"\n" * (LARGEST - path.stat().st_size - 10))
    with pytest.raises(CassetteError, match="would be larger than 64 MiB"):
        writer.write(exchange())
    writer.close()
    assert len(read_cassette(path).entries) == 1


@pytest.mark.parametrize("missing", ["folder/c", "c"])
def test_a_file_that_is_not_there(missing: str, tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match=r"cannot read the cassette .*: No such file"):
        read_cassette(tmp_path / missing)
