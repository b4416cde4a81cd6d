"""Plugins that do harm, as data: a module each, and what whoever asks for it is told.

Each is the text of a module. It may use ``isochat``, ``Whole`` (a well-behaved backend to begin from) and ``given``,
the hook for a class. ``says`` is a part of the error's text, ``error`` its class; ``None`` where the plugin gives a
right answer all the same.
"""

from __future__ import annotations

from typing import NamedTuple

PRELUDE = """
import json, logging, os, sys, threading
import isochat

class Whole(isochat.Backend):
    capabilities = isochat.Capabilities(api="chat-completions")
    def complete(self, request, wire):
        url = f"{self.setup.host}/serving-endpoints/{request.endpoint}/invocations"
        body = wire.exchange("POST", url, [("Content-Type", "application/json")], json.dumps(request.body).encode())
        return isochat.Reply(status=wire.status, headers=wire.headers, body=body, client_call="mine")

ANSWER = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}

def given(kind):
    kind.name = NAME
    @isochat.hookimpl
    def isochat_backend():
        return kind
    globals()["isochat_backend"] = isochat_backend
"""


class Hostile(NamedTuple):
    text: str
    says: str
    error: str | None = "PluginError"
    stream: bool = False


def method(body: str, signature: str = "complete(self, request, wire)", base: str = "Whole", data: str = "pass") -> str:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    return f"class Mine({base}):\n    {data}\n    def {signature}:\n{lines}\ngiven(Mine)\n"


def gives(value: str) -> str:
    return f"@isochat.hookimpl\ndef isochat_backend():\n    return {value}\n"


STREAMS = 'capabilities = isochat.Capabilities(api="chat-completions", streaming=True)'
OWN = 'capabilities = isochat.Capabilities(api="chat-completions", streaming=True, own_transport=True)'
STREAM = "stream(self, request, wire)"

HOSTILE = {
    # at import
    "import-raises": Hostile("raise RuntimeError('half installed')", "RuntimeError: half installed"),
    "import-raises-base": Hostile("class Own(BaseException): pass\nraise Own('no')", "Own: no"),
    "import-exits": Hostile("raise SystemExit(3)", "ended the interpreter"),
    "import-cancels": Hostile("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
    "import-generator-exit": Hostile("raise GeneratorExit", "GeneratorExit"),
    "import-interrupts": Hostile("raise KeyboardInterrupt", "", "KeyboardInterrupt"),
    "import-syntax": Hostile("def (:", "SyntaxError"),
    "import-long-words": Hostile("raise RuntimeError('x' * 10_000_000)", "RuntimeError: xxx"),
    "import-wordless": Hostile(
        "class Own(Exception):\n    def __str__(self): raise ValueError\nraise Own", "Own: (its text cannot be read)"
    ),
    "import-hangs": Hostile("threading.Event().wait()", "", "hangs"),
    "import-prints": Hostile("print('noise'); print('noise', file=sys.stderr)\ngiven(Whole)", "", None),
    # the hook
    "hook-none": Hostile("x = 1", "gives None"),
    "hook-raises": Hostile("@isochat.hookimpl\ndef isochat_backend():\n    raise OSError('no disk')", "no disk"),
    "hook-exits": Hostile("@isochat.hookimpl\ndef isochat_backend():\n    sys.exit()", "ended the interpreter"),
    "hook-hangs": Hostile("@isochat.hookimpl\ndef isochat_backend():\n    threading.Event().wait()", "", "hangs"),
    "hook-signature": Hostile("@isochat.hookimpl\ndef isochat_backend(what):\n    return 1", "what"),
    "hook-misspelt": Hostile("@isochat.hookimpl\ndef isochat_backendd():\n    return 1", "isochat_backendd"),
    "hook-text": Hostile(gives("'mine'"), "gives 'mine' where a Backend class is expected"),
    "hook-object": Hostile("given(Whole)\n" + gives("Whole(None)"), "where a Backend class is expected"),
    "hook-huge-repr": Hostile(
        "class Own:\n    def __repr__(self): return 'x' * 50_000_000\n" + gives("Own()"), "xxx... where a Backend"
    ),
    "hook-repr-raises": Hostile(
        "class Own:\n    def __repr__(self): raise MemoryError\n" + gives("Own()"), "whose repr raises MemoryError"
    ),
    "hook-metaclass": Hostile(
        "class Meta(type(isochat.Backend)):\n    def __getattribute__(cls, name):\n        raise RuntimeError('meta')\n"
        "class Mine(Whole, metaclass=Meta): pass\n" + gives("Mine"),
        "RuntimeError: meta",
    ),
    # the class
    "class-abstract": Hostile(
        "class Mine(isochat.Backend):\n    capabilities = Whole.capabilities\ngiven(Mine)", "has no complete()"
    ),
    "class-other-name": Hostile("given(Whole)\nWhole.name = 'rest'", "calls itself 'rest'"),
    "class-no-name": Hostile("given(Whole)\ndel Whole.name", "has the name None"),
    "class-no-capabilities": Hostile("given(Whole)\nWhole.capabilities = {}", "has the capabilities {}"),
    "class-unknown-api": Hostile(
        "given(Whole)\nWhole.capabilities = isochat.Capabilities(api='graphql')", "unknown capabilities"
    ),
    "class-options": Hostile("given(Whole)\nWhole.options = None", "has the options None"),
    "class-claims-stream": Hostile(f"class Mine(Whole):\n    {STREAMS}\ngiven(Mine)", "what it lacks: stream()"),
    "class-claims-async": Hostile(
        "given(Whole)\nWhole.capabilities = isochat.Capabilities(api='responses', asynchronous='native')",
        "what it lacks: acomplete()",
    ),
    # making it
    "init-raises": Hostile(method("raise ValueError('no key')", "__init__(self, setup)"), "cannot be made: ValueError"),
    "init-exits": Hostile(method("raise SystemExit", "__init__(self, setup)"), "cannot be made: SystemExit"),
    "init-imports": Hostile(
        method("import no_such_client", "__init__(self, setup)"), "no_such_client", "BackendNotInstalledError"
    ),
    "init-hangs": Hostile(method("threading.Event().wait()", "__init__(self, setup)"), "", "hangs"),
    # asking
    "complete-raises": Hostile(method("raise KeyError('x')"), "failed before anything was sent: KeyError"),
    "complete-stops": Hostile(method("raise StopIteration"), "StopIteration"),
    "complete-exits": Hostile(method("sys.exit(7)"), "would end the interpreter"),
    "complete-quits": Hostile(method("exit(7)"), "would end the interpreter"),
    "complete-interrupts": Hostile(method("raise KeyboardInterrupt"), "", "KeyboardInterrupt"),
    "complete-hangs": Hostile(method("threading.Event().wait()"), "", "hangs"),
    "complete-asks-twice": Hostile(
        method("Whole.complete(self, request, wire)\nreturn Whole.complete(self, request, wire)"),
        "a second request",
        "ConfigurationError",
    ),
    "complete-none": Hostile(method("return None"), "returned NoneType"),
    "complete-text": Hostile(method("return json.dumps(ANSWER)"), "returned str"),
    "complete-list": Hostile(method("return [ANSWER]"), "returned list"),
    "complete-class": Hostile(method("return isochat.Reply"), "returned StructMeta"),
    "reply-status": Hostile(method("return isochat.Reply(status='200', headers=[], body=b'{}')"), "the status '200'"),
    "reply-headers": Hostile(method("return isochat.Reply(status=200, headers=None, body=b'{}')"), "headers are no"),
    "reply-pairs": Hostile(method("return isochat.Reply(status=200, headers=[1], body=b'{}')"), "headers are no"),
    "reply-body": Hostile(method("return isochat.Reply(status=200, headers=[], body='{}')"), "body is str"),
    "reply-native": Hostile(
        method("return isochat.Reply(status=200, headers=[], body=b'{}', native=3)"), "native cannot be called"
    ),
    "reply-call": Hostile(
        method("return isochat.Reply(status=200, headers=[], body=b'{}', client_call=None)"), "client_call is None"
    ),
    "mapping-empty": Hostile(method("return {}"), "choices", "BadResponseError"),
    "mapping-objects": Hostile(method("return {'choices': object()}"), "choices", "BadResponseError"),
    "mapping-raises": Hostile(
        "class Own(dict):\n    def get(self, *a): raise RuntimeError('own')\n    __getitem__ = __contains__ = get\n"
        + method("return Own(ANSWER)"),
        "mapping that cannot be read",
    ),
    # errors of its own
    "translate-raises": Hostile(
        method("raise KeyError") + "Mine.translate_error = lambda self, error: 1 / 0", "fails to translate it"
    ),
    "translate-text": Hostile(
        method("raise KeyError") + "Mine.translate_error = lambda self, error: 'sorry'", "expected a ChatError or None"
    ),
    # streams
    "stream-raises": Hostile(method("raise KeyError('x')", STREAM, data=STREAMS), "KeyError", stream=True),
    "stream-nothing": Hostile(method("return None", STREAM, data=STREAMS), "returned NoneType", stream=True),
    "stream-exits": Hostile(method("sys.exit()", STREAM, data=STREAMS), "would end the interpreter", stream=True),
    "stream-pieces": Hostile(
        method("return isochat.StreamReply(status=200, headers=[], pieces=3)", STREAM, data=OWN), "pieces", stream=True
    ),
    "stream-numbers": Hostile(
        method("return isochat.StreamReply(status=200, headers=[], pieces=[1, 2])", STREAM, data=OWN),
        "a piece of int",
        stream=True,
    ),
    "stream-breaks": Hostile(
        "def pieces():\n    yield {'choices': [{'index': 0, 'delta': {'content': 'hel'}}]}\n    raise KeyError('mid')\n"
        + method("return isochat.StreamReply(status=200, headers=[], pieces=pieces())", STREAM, data=OWN),
        "",
        "StreamTruncatedError",
        stream=True,
    ),
    # leaving
    "close-raises": Hostile(method("raise OSError('still open')", "close(self)"), "does not close: OSError"),
    "close-exits": Hostile(method("sys.exit()", "close(self)"), "does not close: SystemExit"),
    # what it may touch
    "mutates": Hostile(
        method(
            "request.messages[0]['content'] = 'forged'\nrequest.messages[0]['more'] = [1]\n"
            "request.body['messages'][0]['content'] = 'forged'\nrequest.body.clear()\n"
            "request.body['messages'] = [{'role': 'user', 'content': 'mine'}]\nrequest.headers['X-Mine'] = '1'\n"
            "return Whole.complete(self, request, wire)"
        ),
        "",
        None,
    ),
    "changes-credentials": Hostile(
        method("wire.credentials['Authorization'] = 'Bearer x'"), "does not support item assignment"
    ),
    "changes-headers": Hostile(method("wire.own_headers['X'] = 'y'"), "does not support item assignment"),
    "changes-environment": Hostile(
        "os.environ.update(OPENAI_API_KEY='sk-foreign', OPENAI_ORG_ID='org-foreign', OPENAI_BASE_URL='http://127.0.0.1:9',"
        " MLFLOW_TRACKING_URI='http://127.0.0.1:9', DATABRICKS_HOST='http://127.0.0.1:9', DATABRICKS_TOKEN='foreign',"
        " MLFLOW_HTTP_REQUEST_MAX_RETRIES='99', DATABRICKS_CLIENT_ID='foreign')\ngiven(Whole)",
        "",
        None,
    ),
    "changes-logging": Hostile(
        "logging.disable(0)\nlogging.basicConfig(level=1, stream=sys.stderr, force=True)\n"
        "logging.setLoggerClass(type('Own', (logging.Logger,), {}))\ngiven(Whole)",
        "",
        None,
    ),
    "prints": Hostile(
        method("print('noise'); print('noise', file=sys.stderr)\nreturn Whole.complete(self, request, wire)"), "", None
    ),
}
