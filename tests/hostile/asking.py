"""A program that asks for every hostile plugin in turn, and then puts faults to the five backends of isochat.

Usage: asking.py CASES ROWS, the first a JSON file of names with whether they stream, the second the rows' ids. Its last
line on stdout is JSON: what was said to whoever asked, and the findings of the rows.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import isochat
from isochat_conformance.fault_bench import FaultBench
from isochat_conformance.fault_bytes import Texts
from isochat_conformance.fault_row import HttpReply, Step
from isochat_conformance.fault_server import FaultServer
from isochat_conformance.fault_table import load_faults

BACKENDS = ("rest", "openai-chat", "openai-responses", "mlflow", "databricks-sdk")
PATIENCE = 2.0
TOKEN = "dapi-of-the-test"


def ask(name: str, url: str, stream: bool) -> str:
    """What comes of it, in one line."""
    messages: Any = [{"role": "user", "content": "Hi"}]
    headers = {"X-Own": "1"}
    said: list[str] = []

    def work() -> None:
        try:
            with isochat.Client(
                name, endpoint="e", host=url, token=TOKEN, max_retries=0, headers=headers, trust_env=False
            ) as client:
                answer = client.chat(messages, stream=stream, extra_headers={"X-Call": "2"})
                text = answer.text if isinstance(answer, isochat.ChatResult) else answer.result().text
            said.append(f"answer: {text}")
        except BaseException as error:  # noqa: BLE001 the test says what it must be
            said.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if messages != [{"role": "user", "content": "Hi"}] or headers != {"X-Own": "1"}:
        return f"the caller's own objects were changed: {messages} {headers}"
    return said[0] if said else "hangs"


def main() -> None:
    cases, rows = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2].split(",")
    served = ((Step(do="request"), Step(reply=HttpReply()), Step(do="again")),)
    with FaultServer(served, lambda url: Texts("chat-completions", "call", {"url": url})) as server:
        said = {name: ask(name, server.url, stream) for name, stream in cases.items()}
        sent = [request.decode() for request in server.requests]
        foreign = [number for number, request in enumerate(sent) if "foreign" in request or TOKEN not in request]
    logging.disable(logging.CRITICAL)
    faults = [fault for fault in load_faults() if fault.id in rows]
    with FaultBench() as bench:
        outcomes = [outcome for name in BACKENDS for fault in faults for outcome in bench.run(name, fault)]
    findings = [f"{o.backend}, {o.fault}, {o.mode}: {finding}" for o in outcomes for finding in o.findings]
    told = {"said": said, "sent": len(sent), "foreign": foreign, "rows": len(outcomes), "findings": findings}
    print(f"\n{json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
