"""Would the canary notice? A leak is planted for every form in every place, and each must be found; clean ones pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from spellings import Watched, spellings

HERE = Path(__file__).parent
TOKEN = "dapi" + "0f" * 16
FORMS = ("plain", "url", "json", "html", "hex", "basic", "base64")
PLACES = (
    "log message",
    "log arguments",
    "log exception",
    "log extra",
    "log stack",
    "log of an event loop",
    "foreign log",
    "standard output",
    "standard output, read by capsys",
    "standard error",
    "output of a program",
    "output of a program of an event loop",
    "message of an error",
    "vars of an error",
    "body of an error",
    "partial of an error",
    "pickle of an error",
    "cause of an error",
    "context of an error",
    "note of an error",
    "note of a cause",
    "error of a group",
    "group that is expected",
    "error of a thread",
    "error that cannot be raised",
    "error of a task",
    "frame of ours",
    "frame of ours in a cause",
    "frame of ours, seen by a log",
    "error that nobody expects",
    "text of a result",
    "tool call of a result",
    "meta of a result",
    "raw of a result",
    "repr of a client",
    "vars of a client",
    "deep in a client",
    "key in a client",
    "warning",
    "warning that is expected",
    "warning that is recorded",
    "fixture",
)
FAILS_ANYHOW = ("error that nobody expects", "warning", "error of a thread", "error that cannot be raised")

# Run by a pytest of its own, with the canary: one test for each form and place, which plants the token there. The
# frames "of ours" are made of a file in isochat's folder that does not exist.
PLANTED = '''
import asyncio, base64, gc, json, logging, subprocess, sys, threading, warnings
from pathlib import Path
from urllib.parse import quote
import pytest
import isochat
from isochat import ChatError, ChatResult
from isochat.results import Meta

TOKEN = {token!r}
SPELT = {{
    "plain": TOKEN,
    "url": "".join(f"%{{ord(c):02x}}" for c in TOKEN),
    "json": "".join(f"\\\\u{{ord(c):04x}}" for c in TOKEN),
    "html": "".join(f"&#{{ord(c)}};" for c in TOKEN),
    "hex": TOKEN.encode().hex(),
    "basic": base64.b64encode(f"token:{{TOKEN}}".encode()).decode(),
    "base64": base64.b64encode(f"You sent: {{TOKEN}}, they say".encode()).decode(),
    "clean": "dapi-of-somebody-else",
}}
OUR_FILE = str(Path(isochat.__file__).parent / "planted.py")


def ours(code, **names):
    exec(compile(code, OUR_FILE, "exec"), names)
    return names


@pytest.fixture
def server():
    """What the canary takes for a workspace, and so watches the token of."""
    class Server:
        url, token = "http://127.0.0.1:9", TOKEN
    return Server()


@pytest.fixture
def text(request, server):
    return SPELT[request.param]


def seen_by_log(**names):
    """As in the middle of a call: a frame of ours logs, and has these objects."""
    code = "def call(held):\\n    log.debug('under way')\\ncall(held)"
    for held in names.values():
        ours(code, log=logging.getLogger("isochat"), held=held)


def raised(error, cause=None):
    with pytest.raises(type(error)):
        raise error from cause


def completion(**kw):
    message = {{"role": "assistant", "content": "Hello.", **kw}}
    return ChatResult.from_dict({{"id": "1", "created": 1, "model": "m", "object": "chat.completion",
        "choices": [{{"index": 0, "finish_reason": "stop", "message": message}}]}})


def plant_log_message(text, capsys): logging.getLogger("isochat").debug("sent " + text)
def plant_log_arguments(text, capsys): logging.getLogger("isochat").debug("sent %s", [text])
def plant_log_exception(text, capsys):
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("isochat").debug("failed", exc_info=True)
def plant_log_extra(text, capsys): logging.getLogger("isochat").debug("sent", extra={{"headers": [text]}})
def plant_log_stack(text, capsys):
    record = logging.makeLogRecord({{"name": "isochat", "msg": "sent", "levelno": 10, "stack_info": "Stack: " + text}})
    logging.getLogger("isochat").handle(record)
def plant_log_of_an_event_loop(text, capsys):
    async def main():
        asyncio.get_running_loop().call_exception_handler({{"message": "lost", "exception": OSError(text)}})
    asyncio.run(main())
def plant_foreign_log(text, capsys): logging.getLogger("urllib3.connectionpool").debug("sent " + text)
def plant_standard_output(text, capsys):
    with capsys.disabled():
        pass
    sys.stdout.write(text)
def plant_standard_output__read_by_capsys(text, capsys):
    print(text)
    capsys.readouterr()
def plant_standard_error(text, capsys): sys.stderr.write(text)
def plant_output_of_a_program(text, capsys):
    subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write(sys.argv[1])", text], capture_output=True)
def plant_output_of_a_program_of_an_event_loop(text, capsys):
    async def main():
        pipe = asyncio.subprocess.PIPE
        code = "import sys; print(sys.argv[1])"
        await (await asyncio.create_subprocess_exec(sys.executable, "-c", code, text, stdout=pipe)).communicate()
    asyncio.run(main())
def plant_message_of_an_error(text, capsys): raised(ChatError(text))
def plant_vars_of_an_error(text, capsys):
    error = ChatError("x")
    error.anything = [text]
    raised(error)
def plant_body_of_an_error(text, capsys): raised(ChatError("x", body=text))
def plant_partial_of_an_error(text, capsys): raised(ChatError("x", partial=completion(content=text)))
class OnlyPickled(ChatError):
    def __reduce__(self):
        return ChatError, (self.args[0][::-1],)
def plant_pickle_of_an_error(text, capsys): raised(OnlyPickled(text[::-1]))
def plant_cause_of_an_error(text, capsys): raised(ChatError("x"), KeyError(text))
def plant_context_of_an_error(text, capsys):
    with pytest.raises(ChatError):
        try:
            raise OSError(text)
        except OSError:
            raise ChatError("x") from None
def plant_note_of_an_error(text, capsys):
    error = ChatError("x")
    error.add_note(text)
    raised(error)
def plant_note_of_a_cause(text, capsys):
    cause = KeyError("x")
    cause.add_note(text)
    raised(ChatError("x"), cause)
def plant_group_that_is_expected(text, capsys):
    with pytest.RaisesGroup(ChatError):
        raise ExceptionGroup("all", [ChatError(text)])
def plant_error_of_a_thread(text, capsys):
    def work():
        raise ChatError(text)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
class Unwilling:
    def __init__(self, text): self.text = text
    def __del__(self): raise ChatError(self.text)
def plant_error_that_cannot_be_raised(text, capsys):
    Unwilling(text)
    gc.collect()
def plant_error_of_a_task(text, capsys):
    async def work():
        raise ChatError(text)
    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        del task
    asyncio.run(main())
    gc.collect()
def plant_error_of_a_group(text, capsys): raised(ExceptionGroup("all", [ChatError("x"), ChatError(text)]))
def plant_frame_of_ours(text, capsys):
    with pytest.raises(KeyError):
        ours("def call(n):\\n    held = {{'Authorization': text}}\\n    return {{}}[n]\\ncall(1)", text=text)
def plant_frame_of_ours_in_a_cause(text, capsys):
    with pytest.raises(ChatError):
        try:
            ours("def call(n):\\n    held = text.encode()\\n    return {{}}[n]\\ncall(1)", text=text)
        except KeyError as error:
            raise ChatError("x") from error
def plant_frame_of_ours__seen_by_a_log(text, capsys): seen_by_log(held=[text])
def plant_error_that_nobody_expects(text, capsys): raise ChatError(text)
def plant_text_of_a_result(text, capsys): seen_by_log(held=completion(content=text))
def plant_tool_call_of_a_result(text, capsys):
    call = {{"id": "c", "type": "function", "function": {{"name": "f", "arguments": text}}}}
    seen_by_log(held=completion(content=None, tool_calls=[call]))
def meta(**kw):
    import msgspec
    return msgspec.structs.replace(completion(), meta=Meta(**kw))
def plant_meta_of_a_result(text, capsys): seen_by_log(held=meta(headers={{"x-request-id": text}}))
def plant_raw_of_a_result(text, capsys): seen_by_log(held=meta(_raw={{"unknown": text}}))
def client(): return isochat.Client("rest", endpoint="e", host="http://127.0.0.1:9", token="dapi-of-somebody-else")
class Talkative(isochat.Client):
    def __repr__(self):
        return "Client(" + self.said + ")"
    __slots__ = ("said",)
def plant_repr_of_a_client(text, capsys):
    held = Talkative("rest", endpoint="e", host="http://127.0.0.1:9", token="dapi-of-somebody-else")
    held.said = text
    KEPT.append(held)
    seen_by_log(held=held)
KEPT = []
def plant_vars_of_a_client(text, capsys):
    held = client()
    held.last = {{"token": text}}
    KEPT.append(held)
    seen_by_log(held=held)
def plant_deep_in_a_client(text, capsys):
    held = client()
    held._carrier.connections.credentials.last = ({{"sent": [text.encode()]}},)
    KEPT.append(held)
    seen_by_log(held=held)
def plant_key_in_a_client(text, capsys):
    held = client()
    held._carrier.connections.known = {{text: 1}}
    KEPT.append(held)
    seen_by_log(held=held)
def plant_warning_that_is_expected(text, capsys):
    with pytest.warns(UserWarning):
        warnings.warn(text, UserWarning)
def plant_warning_that_is_recorded(text, capsys):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn(text, UserWarning)
def plant_warning(text, capsys): warnings.warn(text, UserWarning)
def plant_fixture(text, capsys): pass


@pytest.fixture
def torn_down(request, text):
    yield
    if request.node.callspec.params["place"] == "fixture":
        print(text)


@pytest.mark.parametrize("text", [*{forms!r}, "clean"], indirect=True)
@pytest.mark.parametrize("place", {places!r})
def test_planted(place, text, capsys, torn_down, request):
    with capsys.disabled():
        pass
    globals()["plant_" + place.replace(", ", "__").replace(" ", "_")](text, capsys)
'''


def test_it_knows_every_form_of_a_token() -> None:
    watched = Watched()
    watched.add("dapi/+ab\"cd='")

    assert {form for form, _ in spellings(TOKEN)} == set(FORMS)
    assert watched.forms_in('["dapi\\/+ab\\"cd=\'"]') == ["json"]
    assert watched.forms_in("?t=dapi%2F%2Bab%22cd%3D%27") == ["url"]
    assert watched.forms_in("?t=dapi%252F%252Bab%2522cd%253D%2527") == ["url"]
    assert watched.forms_in("<p>dapi/&plus;ab&quot;cd=&#x27;</p>") == ["html"]
    assert watched.forms_in("'dapi/\\x2bab\\u0022cd=\\u0027'") == ["json"]
    assert watched.forms_in("dapi of somebody else") == []


def test_a_token_that_could_be_a_word_is_not_watched() -> None:
    watched = Watched()
    watched.add("mine")

    assert watched.forms_in("it is mine") == []


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], tuple[str, str]]:
    """What became of each planted test: passed or failed, and what was said."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "test_planted.py").write_text(PLANTED.format(token=TOKEN, forms=FORMS, places=PLACES))
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {HERE}\nfilterwarnings = error\n")
    (folder / "conftest.py").write_text('pytest_plugins = ["canary"]\n')
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-rA", "--tb=short"]
    done = subprocess.run([*command, str(folder)], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for verdict, place, form in re.findall(
        r"^(PASSED|FAILED|ERROR) \S+::test_planted\[(.+)-(\w+)\]", done.stdout, re.M
    ):
        found[place, form] = (verdict, "")
    told = done.stdout.partition(" short test summary info ")[0]
    sections = re.split(r"^_+ (?:ERROR at \w+ of )?test_planted\[(.+)-(\w+)\] _+$", told, flags=re.M)
    for place, form, said in zip(sections[1::3], sections[2::3], sections[3::3], strict=True):
        found[place, form] = (found[place, form][0], said)
    assert len(found) == len(PLACES) * (len(FORMS) + 1), done.stdout[-3000:] + done.stderr[-3000:]
    return found


@pytest.mark.canary_allows("the leaks planted here are of another token, in another process, which prints them")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", FORMS)
def test_a_planted_leak_is_found(form: str, place: str, verdicts: dict[tuple[str, str], tuple[str, str]]) -> None:
    verdict, said = verdicts[place, form]

    assert verdict in ("FAILED", "ERROR")
    assert f"the token stands, {form}, in the" in said


@pytest.mark.parametrize("place", PLACES)
def test_what_is_clean_is_no_alarm(place: str, verdicts: dict[tuple[str, str], tuple[str, str]]) -> None:
    verdict, said = verdicts[place, "clean"]

    assert verdict == ("FAILED" if place in FAILS_ANYHOW else "PASSED"), said
    assert "the token stands" not in said


def test_a_finding_names_form_place_and_frame(verdicts: dict[tuple[str, str], tuple[str, str]]) -> None:
    assert (
        "the token stands, plain, in the local variable held of planted.py:3 call"
        in verdicts["frame of ours", "plain"][1]
    )
