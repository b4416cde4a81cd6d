"""Plugins whose objects lie about themselves, and whose exceptions nobody catches, as data; as in hostile_plugins."""

from __future__ import annotations

from hostile_plugins import OWN, STREAM, STREAMS, Hostile, gives, method

EVIL_TEXT = """
class Evil(str):
    def __eq__(self, other): raise RuntimeError('eq')
    def __ne__(self, other): raise RuntimeError('ne')
    def lower(self): raise RuntimeError('lower')
    __hash__ = str.__hash__
"""
OWN_BASE = "class Own(BaseException): pass\n"
REPLY = "isochat.Reply(status=200, headers=[], body=json.dumps(ANSWER).encode())"
LYING_REPLY = """
class Lies(isochat.Reply):
    asked = [0]
    def __getattribute__(self, name):
        if name == 'body':
            self.asked[0] += 1
            return {}
        return super().__getattribute__(name)
"""
EVIL_NUMBER = """
class Evil(int):
    def __le__(self, other): return True
    __ge__ = __lt__ = __le__
    def __repr__(self): raise KeyError
"""


def streams(pieces: str) -> str:
    answer = "return isochat.StreamReply(status=200, headers=[], pieces=pieces())"
    first = "    yield {'choices': [{'index': 0, 'delta': {'content': 'hel'}}]}\n"
    return f"{OWN_BASE}def pieces():\n{first}    {pieces}\n" + method(answer, STREAM, data=OWN)


def own_error(body: str, base: str = "isochat.ChatError") -> str:
    return f"class Own({base}):\n    {body}\n" + method("raise Own('x')")


NO_SHAPE = "which lacks what a ChatError has"
LYING = {
    # the class
    "lies-name": Hostile(EVIL_TEXT + "given(Whole)\nWhole.name = Evil(NAME)", "has the name 'lies-name'"),
    "lies-class": Hostile("class Lies:\n    __class__ = type\n" + gives("Lies()"), "issubclass"),
    "lies-capabilities": Hostile(
        "class Lies(isochat.Capabilities): pass\ngiven(Whole)\nWhole.capabilities = Lies(api='responses')",
        "has the capabilities Lies(",
    ),
    "lies-options": Hostile(
        "class Lies(frozenset):\n    def __contains__(self, name): raise RuntimeError\n"
        "given(Whole)\nWhole.options = Lies()",
        "has the options Lies(",
    ),
    "lies-abstract": Hostile("given(Whole)\nWhole.__abstractmethods__ = 5", "does not load"),
    "lies-hash": Hostile(
        "class Meta(type(isochat.Backend)):\n    def __hash__(cls): raise RuntimeError('hash')\n"
        "class Mine(Whole, metaclass=Meta): pass\ngiven(Mine)",
        "RuntimeError: hash",
    ),
    "lies-made": Hostile("class Mine(Whole):\n    def __new__(cls, setup): return 5\ngiven(Mine)", "makes 5 where"),
    # what nobody catches
    "base-import-group": Hostile("raise BaseExceptionGroup('all', [KeyboardInterrupt()])", "BaseExceptionGroup: all"),
    "base-import-name": Hostile("raise type('x' * 100_000, (BaseException,), {})", "does not load: xxx"),
    "base-init": Hostile(OWN_BASE + method("raise Own('no')", "__init__(self, setup)"), "cannot be made: Own: no"),
    "base-complete": Hostile(OWN_BASE + method("raise Own('no')"), "raises what nobody catches: Own: no"),
    "base-complete-group": Hostile(
        method("raise BaseExceptionGroup('all', [SystemExit(3)])"), "BaseExceptionGroup: all"
    ),
    "base-generator-exit": Hostile(method("raise GeneratorExit"), "raises what nobody catches: GeneratorExit"),
    "base-cancels": Hostile(method("import asyncio\nraise asyncio.CancelledError"), "CancelledError"),
    "base-translate": Hostile(
        OWN_BASE + method("raise KeyError") + "def no(self, error): raise Own('no')\nMine.translate_error = no",
        "fails to translate it: Own: no",
    ),
    "base-translate-exits": Hostile(
        method("raise KeyError") + "Mine.translate_error = lambda self, error: sys.exit(3)", "fails to translate it"
    ),
    "base-close": Hostile(OWN_BASE + method("raise Own('no')", "close(self)"), "does not close: Own: no"),
    "base-recursion": Hostile(method("return self.complete(request, wire)"), "RecursionError"),
    "base-stream": Hostile(streams("raise Own('no')"), "Own: no", "StreamTruncatedError", stream=True),
    "base-stream-exits": Hostile(streams("sys.exit(3)"), "SystemExit: 3", "StreamTruncatedError", stream=True),
    "base-stream-iter": Hostile(
        "class Pieces:\n    def __iter__(self): raise KeyError('iter')\n"
        + method("return isochat.StreamReply(status=200, headers=[], pieces=Pieces())", STREAM, data=OWN),
        "KeyError: 'iter'",
        "StreamTruncatedError",
        stream=True,
    ),
    # what is handed over
    "hands-coroutine": Hostile(method("pass").replace("def complete", "async def complete"), "returned coroutine"),
    "hands-generator": Hostile(method("yield 1"), "returned generator"),
    "hands-coroutine-stream": Hostile(
        method("pass", STREAM, data=STREAMS).replace("def stream", "async def stream"),
        "returned coroutine",
        stream=True,
    ),
    "hands-lying-reply": Hostile(LYING_REPLY + method(f"return Lies{REPLY[13:]}"), "whose body is dict"),
    "hands-evil-status": Hostile(
        EVIL_NUMBER + method(f"return {REPLY.replace('200', 'Evil(999)')}"), "the status <Evil"
    ),
    "hands-evil-headers": Hostile(
        EVIL_TEXT + method(f"return {REPLY.replace('[]', '[(Evil(), Evil())]').replace('Evil()', 'Evil(1)')}"), "", None
    ),
    "hands-evil-body": Hostile(
        "class Evil(bytes):\n    def __len__(self): raise KeyError\n    __getitem__ = __iter__ = decode = __len__\n"
        + method("return isochat.Reply(status=200, headers=[], body=Evil(json.dumps(ANSWER).encode()))"),
        "",
        None,
    ),
    "hands-native-that-exits": Hostile(method(f"return {REPLY[:-1]}, native=lambda: sys.exit(3))"), "", None),
    "hands-exiting-mapping": Hostile(
        "class Own(dict):\n    def get(self, *a): raise SystemExit(4)\n    __getitem__ = __contains__ = get\n"
        + method("return Own(ANSWER)"),
        "mapping that cannot be read: SystemExit",
    ),
    "hands-mapping-with-an-exit-inside": Hostile(
        "class Own(dict):\n    def get(self, *a): raise SystemExit(4)\n"
        + method("return {**ANSWER, 'choices': [Own(one) for one in ANSWER['choices']]}"),
        "",
        None,
    ),
    "hands-mapping-of-itself": Hostile(
        method("answer = dict(ANSWER)\nanswer['self'] = answer\nreturn answer"), "", None
    ),
    # errors
    "errs-empty": Hostile(own_error("def __init__(self, *a): pass"), NO_SHAPE),
    "errs-fixed": Hostile(own_error("def __setattr__(self, name, value): raise KeyError(name)"), "KeyError: 'message'"),
    "errs-properties": Hostile(own_error("retryable = property(lambda s: 1 / 0)", "isochat.RateLimitError"), NO_SHAPE),
    "errs-retry-after": Hostile(
        method("raise isochat.RateLimitError('x', retry_after='soon')"), "raises RateLimitError"
    ),
    "errs-wordless": Hostile(own_error("def __str__(self): raise ValueError"), NO_SHAPE),
    "errs-chain": Hostile(
        own_error("__cause__ = __context__ = property(lambda s: 1 / 0)", "Exception"), "failed before anything was sent"
    ),
    "errs-quotes-the-token": Hostile(
        method("raise ValueError('not taken: ' + wire.credentials['Authorization'])"), "not taken: Bearer [token]"
    ),
    "errs-own": Hostile(own_error("pass", "isochat.TransportError"), "x", "Own"),
}
