"""How does a client's program report? Its versions, then a line of JSON for each check: what, whether, and why not.

Runs in the environment of that client, so it needs nothing but Python.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

HOST = os.environ["DATABRICKS_HOST"]
TOKEN = os.environ["DATABRICKS_TOKEN"]
GPT = "databricks-gpt-5"
CLAUDE = "databricks-claude-sonnet-4-5"
LLAMA = "databricks-meta-llama-3-3-70b-instruct"
QUESTION = "What is a mixture of experts model?"
ANSWER = f'You asked: "{QUESTION}".'
MESSAGES = [{"role": "user", "content": QUESTION}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": PARAMETERS}}

Check = Callable[[], None] | Callable[[], Coroutine[Any, Any, None]]
_checks: list[tuple[str, Check]] = []


def check(name: str) -> Callable[[Check], Check]:
    """Register a function: that it returns is a proof that the client can do what `name` says; one of several."""

    def register(function: Check) -> Check:
        _checks.append((name, function))
        return function

    return register


def run(*packages: str) -> None:
    """Run all checks and print what came of each, after the versions of the packages."""
    from importlib.metadata import version

    print(json.dumps({"versions": {package: version(package) for package in packages}}), flush=True)
    for name, function in _checks:
        try:
            if inspect.iscoroutinefunction(function):
                asyncio.run(function())
            else:
                function()
        except Exception as error:
            traceback.print_exc()
            said = " ".join(f"{type(error).__name__}: {error}".split())
            failed = {"check": name, "passed": False, "reason": f"{function.__name__}: {said}"[:400]}
            print(json.dumps(failed), flush=True)
        else:
            print(json.dumps({"check": name, "passed": True}), flush=True)


def equal(got: object, wanted: object) -> None:
    """Assert that two values are the same, and say both where they are not."""
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def answered(text: str | None) -> None:
    """Assert that a text is the scripted answer to QUESTION."""
    assert text is not None
    assert text.startswith(ANSWER), f"got {text!r}"
