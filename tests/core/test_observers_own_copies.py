"""Is what an observer, or a backend, is given its own, and what if it cannot be copied?"""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from typing import Any, ClassVar

import pytest
from test_observers import Meddler, Notes

import isochat
from isochat_workspace import Endpoint, HttpReply, Replay, StreamReply, Workspace


@dataclasses.dataclass
class City:
    name: str


def typed(workspace: Workspace) -> str:
    """An endpoint that answers with a City."""
    chat = {"choices": [{"message": {"role": "assistant", "content": '{"name": "Bern"}'}, "finish_reason": "stop"}]}
    reply = HttpReply(200, {"content-type": "application/json"}, json.dumps(chat).encode())
    workspace.add(Endpoint("typed", Replay({"chat": reply})))
    return "typed"


def test_an_answer_of_a_type_and_what_asks_for_it(
    workspace: Workspace, make_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    where, notes = typed(workspace), Notes()

    watched = make_client("rest", workspace, endpoint=where, observers=[Meddler(), notes])
    result = watched.chat("Where?", response_format=City)
    other = make_client("rest", workspace, endpoint=where).chat("Where?", response_format=City)

    assert "failed in isochat_" not in caplog.text
    assert result.parsed == other.parsed == notes.told[1][2].parsed == City("Bern")
    one, two = workspace.requests
    assert one.body == two.body
    assert json.loads(one.body)["response_format"]["json_schema"]["name"] == "City"


@pytest.mark.parametrize("where", ["first", "later"])
def test_what_asks_for_a_type_is_a_backend_s_own_too(where: str, workspace: Workspace, make_client: Any) -> None:
    """What a backend changes in its request is not what the next one, or another client, is given."""

    class Evil(isochat.Backend):
        name = "evil"
        capabilities = isochat.Capabilities(api="chat-completions")

        def complete(self, request: Any, wire: Any) -> Any:
            request.output.response_format["json_schema"]["name"] = "EVIL"
            raise isochat.ConnectError("there is no way")

    host = {"endpoint": typed(workspace), "host": workspace.url, "token": workspace.token, "max_retries": 0}
    if where == "first":
        isochat.Client(Evil, fallback=["rest"], **host).chat("Where?", response_format=City)
    else:
        with pytest.raises(isochat.ConnectError):
            isochat.Client(Evil, **host).chat("Where?", response_format=City)
        make_client("rest", workspace, endpoint="typed").chat("Where?", response_format=City)

    (sent,) = workspace.requests
    assert json.loads(sent.body)["response_format"]["json_schema"]["name"] == "City"


@dataclasses.dataclass
class Counted:
    """It counts how often it is copied."""

    number: int
    copies: ClassVar[int] = 0

    def __deepcopy__(self, memo: Any) -> Counted:
        Counted.copies += 1
        return Counted(self.number)


class Uncopied:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("mine is not for copying")


def handing(reply: Any) -> type[isochat.Backend]:
    """A backend that answers with ``reply``, or raises it."""

    class Handing(isochat.Backend):
        name = "handing"
        capabilities = isochat.Capabilities(api="chat-completions")

        def complete(self, request: Any, wire: Any) -> Any:
            if isinstance(reply, BaseException):
                raise reply
            return reply

    return Handing


ANSWER: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
NOWHERE: dict[str, Any] = {"endpoint": "e", "host": "http://127.0.0.1:9", "token": "t", "max_retries": 0}


def test_the_reply_is_copied_for_whoever_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "copies", 0)
    notes, idle = Notes(), Notes()
    client = isochat.Client(handing({**ANSWER, "mine": Counted(1)}), observers=[notes, idle], **NOWHERE)

    result = client.chat("Hi")
    assert Counted.copies == 0

    told = notes.told[1][2]
    told.meta.raw["mine"].number = 2
    told.meta.raw["choices"].clear()
    assert (Counted.copies, told.meta.extra) == (1, {"mine": Counted(2)})
    assert result.meta.raw == {**ANSWER, "mine": Counted(1)}
    assert idle.told[1][2].meta.raw == result.meta.raw


def test_its_copy_equals_the_reply_and_is_pickled_with_it(workspace: Workspace, make_client: Any) -> None:
    notes, other = Notes(), Notes()
    result = make_client("rest", workspace, endpoint="scripted", observers=[notes, other]).chat("Hi")

    told, again = notes.told[1][2], pickle.loads(pickle.dumps(notes.told[1][2]))

    assert result.meta == told.meta == other.told[1][2].meta == again.meta
    assert told.meta == result.meta == again.meta
    assert again.meta.raw == result.meta.raw
    again.meta.raw.clear()
    assert told.meta != again.meta
    assert result.meta != again.meta


def test_what_cannot_be_copied_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    message = {"role": "assistant", "content": [{"type": "odd", "mine": Uncopied()}]}
    notes = Notes()
    client = isochat.Client(handing({"choices": [{"message": message}]}), observers=[notes], **NOWHERE)

    assert client.chat("Hi").message.parts

    assert notes.names == ["before"]
    assert any("failed in isochat_after_call: TypeError at " in record.getMessage() for record in caplog.records)


def test_of_what_cannot_be_copied_beside_the_answer_the_rest_is_told() -> None:
    notes = Notes()
    reply = {**ANSWER, "mine": Uncopied()}

    assert isochat.Client(handing(reply), observers=[notes], **NOWHERE).chat("Hi").meta.raw is not None

    assert (notes.told[1][2].text, notes.told[1][2].meta.raw) == ("Hi", None)


def test_an_error_that_does_not_pickle_is_told() -> None:
    class Own(isochat.ConnectError):
        def __reduce__(self) -> Any:
            raise TypeError("mine is not for copying")

    notes = Notes()
    with pytest.raises(Own):
        isochat.Client(handing(Own("no way")), observers=[notes], **NOWHERE).chat("Hi")

    assert notes.names == ["before", "error"]
    assert (type(notes.told[1][2]), notes.told[1][2].message) == (Own, "no way")


def test_an_error_that_cannot_be_copied_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    class Own(isochat.ConnectError):
        whole = False

        def __new__(cls, *args: Any) -> Own:
            if not args:
                raise TypeError("mine is not for copying")
            return super().__new__(cls)

    notes = Notes()
    with pytest.raises(Own, match="no way"):
        isochat.Client(handing(Own("no way")), observers=[notes], **NOWHERE).chat("Hi")

    assert notes.names == ["before"]
    assert any("failed in isochat_on_error: TypeError at " in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_client_handles_is_not_to_be_had(stream: bool, make_client: Any, workspace: Workspace) -> None:
    """A logger that is told of "the exception" finds the copy, on an error at the start and in a stream's midst."""
    seen: list[Any] = []

    class Asks:
        @isochat.hookimpl
        def isochat_on_error(self, error: BaseException) -> None:
            seen.append((error, sys.exc_info()))

    cut = StreamReply(200, {"content-type": "text/event-stream"}, lambda: iter([b'data: {"choices": [{"del']))
    busy = HttpReply(503, {"content-type": "application/json"}, b'{"message": "No."}')
    workspace.add(Endpoint("ends", Replay({"chat": cut if stream else busy})))
    client = make_client("rest", workspace, endpoint="ends", observers=[Asks()], max_retries=0)
    with pytest.raises(isochat.ChatError) as raised:
        list(client.chat("Hi", stream=stream))

    ((error, handled),) = seen
    assert handled == (type(error), error, None)
    assert error is not raised.value
    assert (error.__cause__, error.__context__) == (None, None)
