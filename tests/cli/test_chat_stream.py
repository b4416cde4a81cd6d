"""Does ``isochat chat`` show an answer as it comes, and leave what came when it breaks off?"""

import json
import re
import subprocess
import sys

import pytest

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay

from .stage import DONE, USAGE, chunk, event

ASK = ("chat", "--endpoint", "staged", "Hello")
REFUSED = HttpReply(
    400,
    {"content-type": "application/json"},
    b'{"error_code":"BAD_REQUEST","message":"Bad request: streaming is not available for this endpoint\\n"}',
)


def bare(shown):
    """What a person reads: without the styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


# ------------------------------------------------------------------------------------------- as it comes


@pytest.mark.parametrize("backend", ["databricks-sdk", "mlflow", "openai-chat", "rest"])
def test_text_stands_on_the_terminal_before_the_stream_goes_on(terminal, stage, backend):
    gate = stage.GATE
    stage.play(chunk(content="One "), gate, chunk(content="two"), gate, chunk("stop", usage=USAGE), DONE)
    screen = terminal(*ASK, "--backend", backend)

    screen.until("One ")
    assert "two" not in screen.shown
    stage.pass_on()
    screen.until("two")
    stage.pass_on()

    assert screen.end() == 0
    assert "One two\n" in bare(screen.shown)
    assert re.search(r"m · stop · 3 tokens · \d+\.\d\d s\n$", bare(screen.shown))


def test_a_pipe_gets_text_before_the_stream_goes_on(terminal, stage):
    stage.play(chunk(content="One "), stage.GATE, chunk(content="two"), chunk("stop"), DONE)
    pipe = terminal(*ASK, piped=True)

    pipe.until("One ")
    assert pipe.shown == "One "
    stage.pass_on()

    assert pipe.end() == 0
    assert pipe.shown == "One two\n"


def test_lines_of_json_come_one_by_one(terminal, stage):
    stage.play(chunk(content="One "), stage.GATE, chunk(content="two"), chunk("stop", usage=USAGE), DONE)
    pipe = terminal(*ASK, "--json", "--stream", piped=True)

    pipe.until("\n")
    assert json.loads(pipe.shown)["chunk"]["text"] == "One "
    stage.pass_on()

    assert pipe.end() == 0
    told = [json.loads(line) for line in pipe.shown.splitlines()]
    assert [list(line) for line in told] == [["chunk"]] * 3 + [["result"]]
    assert "".join(line["chunk"]["text"] for line in told[:-1]) == "One two"
    assert isochat.ChatResult.from_dict(told[-1]["result"]).usage.total_tokens == 3
    assert told[-1]["result"]["meta"]["backend"] == "rest"


def test_whole_answers_on_demand(terminal, stage, workspace):
    workspace.add(Endpoint("staged", Replay({"chat": whole("One two")})))
    screen = terminal(*ASK, "--no-stream")

    assert screen.end() == 0
    assert "One two\n" in screen.shown
    assert "stream" not in workspace.requests[-1].json()


# ---------------------------------------------------------------------------------------- how it looks


def test_reasoning_stands_apart_and_only_where_there_is_any(terminal, stage):
    stage.play(
        chunk(reasoning_content="Let me "),
        chunk(reasoning_content="see."),
        chunk(content="\n\n"),
        chunk(content="It is 4."),
        chunk("stop"),
        DONE,
    )
    screen = terminal(*ASK)

    assert screen.end() == 0
    assert bare(screen.shown).startswith("reasoning\nLet me see.\n\nanswer\nIt is 4.\n")
    assert "\x1b[2m\x1b[3mLet me \x1b[0m" in screen.shown
    assert "token counts were asked for and did not come (usage_missing)" in bare(screen.shown)


def test_tool_calls_are_shown_as_calls(terminal, stage):
    long = {"city": "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch", "unit": "celsius", "days": 5}
    pieces = [("f", '{"a":'), ("", " 1}"), ("forecast", json.dumps(long)), ("broken", "{a"), ("now", "")]
    positions = [0, 0, 1, 2, 3]
    stage.play(
        *(
            chunk(tool_calls=[{"index": at, "id": f"c{at}", "function": {"name": name, "arguments": text}}])
            for at, (name, text) in zip(positions, pieces, strict=True)
        ),
        chunk("tool_calls", usage=USAGE),
        DONE,
    )
    screen = terminal(*ASK)

    assert screen.end() == 0
    assert bare(screen.shown).startswith('tool calls\n  f({"a": 1})\n  forecast({\n    "city": "Llanfair'), screen.shown
    assert '    "days": 5\n  })\n  broken({a)  (these arguments are not JSON)\n  now()\n' in bare(screen.shown)


def test_a_tool_call_in_a_pipe_is_said_beside_the_text(isochat_cli, workspace, stage):
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
    stage.play(chunk(content="Wait."), chunk(tool_calls=[call]), chunk("tool_calls"), DONE)

    ran = isochat_cli(*ASK)

    assert (ran.code, ran.out, ran.err) == (0, "Wait.\n", 'isochat: tool call: f({"a": 1})\n')


def test_an_agent_that_says_more_than_one_thing(terminal, isochat_cli, stage):
    def said(which, text):
        return event({"id": "r", "delta": {"id": which, "role": "assistant", "content": text}})

    stage.play(said("a", "I look "), said("a", "it up."), said("b", "It is 4."), DONE)
    screen = terminal(*ASK)

    assert screen.end() == 0
    assert bare(screen.shown).startswith("I look it up.\n\nIt is 4.\n")
    # The result is its last text: so a pipe gets what it gets from a plain call, unless a stream was asked for.
    assert isochat_cli(*ASK).out == "It is 4.\n"
    assert isochat_cli(*ASK, "--stream").out == "I look it up.\nIt is 4.\n"


def test_orders_and_markup_in_an_answer_reach_no_terminal(terminal, isochat_cli, stage):
    evil = "a\x1b]0;title\x07 [red]b[/] \x1b[2J\x9b1m c \U0001f469\u200d\U0001f680"
    stage.play(chunk(content=evil[:2]), chunk(content=evil[2:]), chunk("stop", usage=USAGE), DONE)
    screen = terminal(*ASK)

    assert screen.end() == 0
    assert screen.shown.startswith("a ]0;title  [red]b[/]  [2J 1m c \U0001f469\u200d\U0001f680\n")
    assert isochat_cli(*ASK).out == evil + "\n"


def test_a_terminal_without_styles(terminal, stage, monkeypatch):
    stage.play(chunk(reasoning_content="Hm."), chunk(content="4"), chunk("length", usage=USAGE), DONE)
    screen = terminal("chat", "--endpoint", "staged", "Hello", term="dumb")

    assert screen.end() == 0
    assert "\x1b" not in screen.shown
    assert screen.shown.startswith("reasoning\nHm.\n\nanswer\n4\n")
    assert " · length · " in screen.shown


# ------------------------------------------------------------------------------------ the same bytes


def whole(text, **message):
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"},
            {"index": 1, "message": {"role": "assistant", "content": "another"}, "finish_reason": "stop"},
        ],
    }
    return HttpReply(200, {"content-type": "application/json"}, json.dumps(body).encode())


@pytest.mark.parametrize("text", ["", "a", "a\n", "\n\na\n\n", "\x1b[31ma\x1b[0m", "\u2603 \ud800"])
def test_a_pipe_gets_the_same_bytes_streamed_or_not(isochat_cli, workspace, stage, text):
    said = [chunk(content=character) for character in text] or [chunk(content="")]
    stage.play(*said, chunk(index=1, content="another"), chunk("stop"), chunk("stop", index=1), DONE)
    streamed, streamed_at_once = isochat_cli(*ASK), isochat_cli(*ASK, "--stream")
    workspace.add(Endpoint("staged", Replay({"chat": whole(text)})))

    plain = isochat_cli(*ASK, "--no-stream")

    assert plain.out == f"{text}\n".encode(errors="backslashreplace").decode()
    assert (streamed.code, streamed.out) == (streamed_at_once.code, streamed_at_once.out) == (0, plain.out)


@pytest.mark.parametrize("backend", ["databricks-sdk", "mlflow", "openai-chat", "openai-responses", "rest"])
def test_every_backend_streams_by_itself(isochat_cli, workspace, backend):
    ran = isochat_cli("chat", "--endpoint", "scripted", "--backend", backend, "Hello")

    assert workspace.requests[-1].json()["stream"] is True
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == isochat_cli("chat", "--endpoint", "scripted", "--backend", backend, "--no-stream", "Hello").out


# ------------------------------------------------------------------------------------- what goes wrong


def test_ctrl_c_in_a_stalled_stream_leaves_what_had_come(terminal, stage):
    stage.play(chunk(content="One "), stage.GATE, chunk(content="two"), chunk("stop"), DONE)
    screen = terminal(*ASK)
    screen.until("One ")

    screen.press_ctrl_c()

    assert screen.end() == 130
    assert screen.shown == "One ^C\n"
    stage.until_left()


def test_ctrl_c_before_the_first_word(terminal, stage):
    stage.play(stage.GATE, chunk(content="One "), DONE)
    screen = terminal(*ASK)
    stage.until_asked()
    screen.press_ctrl_c()

    assert screen.end() == 130
    assert "Traceback" not in screen.shown
    stage.until_left()


@pytest.mark.parametrize(
    ("pieces", "options", "says"),
    [
        ([chunk(content="One "), chunk(content="two")], {}, "before the answer was complete"),
        ([chunk(content="One "), chunk(content="two")], {"end": "cut"}, "the stream broke off after 2 events"),
        (
            [chunk(content="One "), chunk(content="two"), event({"error_code": "INTERNAL_ERROR", "message": "gone"})],
            {},
            "the service failed after 2 events",
        ),
    ],
)
def test_a_broken_stream_leaves_what_came_and_one_line(terminal, isochat_cli, stage, pieces, options, says):
    stage.play(*pieces, **options)

    ran = isochat_cli(*ASK)
    screen = terminal(*ASK)

    assert (ran.code, ran.out, ran.err.count("\n")) == (3, "One two\n", 1)
    assert says in ran.err
    assert screen.end() == 3
    lines = screen.shown.splitlines()
    assert (lines[0], lines[1][:9]) == ("One two", "isochat: ")
    assert "error.partial" not in screen.shown + ran.err


def test_what_a_pipe_held_back_comes_out_when_the_stream_breaks(isochat_cli, stage):
    stage.play(event({"id": "r", "delta": {"id": "a", "role": "assistant", "content": "One"}}), end="cut")

    ran = isochat_cli(*ASK)

    assert (ran.code, ran.out) == (3, "One\n")


def test_the_error_quotes_no_orders_to_the_terminal(isochat_cli, stage):
    stage.play(event({"error_code": "INTERNAL_ERROR", "message": "go\x1b[2Jne"}))

    ran = isochat_cli(*ASK)

    assert (ran.code, ran.out) == (3, "")
    assert "go [2Jne" in ran.err


def test_an_agent_whose_end_is_not_proved_is_a_warning(isochat_cli, stage):
    stage.play(event({"id": "r", "delta": {"id": "a", "role": "assistant", "content": "One"}}))

    ran = isochat_cli(*ASK)

    assert (ran.code, ran.out) == (0, "One\n")
    assert ran.err == (
        "isochat: warning: the stream ended cleanly, but nothing in it says that the agent was done "
        "(completion_unproven)\n"
    )


def test_an_endpoint_that_refuses_to_stream_is_asked_for_the_whole_answer(isochat_cli, workspace):
    workspace.add(Endpoint("staged", Replay({"chat": [REFUSED, whole("One"), REFUSED]})))

    ran, asked = isochat_cli(*ASK), isochat_cli(*ASK, "--stream")

    assert (ran.code, ran.out) == (0, "One\n")
    assert ran.err == "this endpoint refuses to stream: asked for the whole answer\n"
    assert (asked.code, asked.out) == (3, "")
    assert "streaming is not available" in asked.err


def test_a_reader_that_leaves_ends_the_stream(workspace, stage):
    stage.play(chunk(content="One\n"), *[chunk(content="two " * 4000)] * 500, stage.GATE, chunk("stop"), DONE)

    shell = f"{sys.executable} -m isochat {' '.join(ASK)} | head -1"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "One\n", "")
    stage.until_left()
