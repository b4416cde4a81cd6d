"""What do the bare clients make of the fault table? The measurement behind the right-hand side of docs/faults.md.

Each row is put to each client as its documentation has it used, at its own settings but for the silence that it allows
between two reads (1 s) and for the SDK's look at the host before its first call, which is left out. Each question runs
in a process of its own, in which pauses pass at once and are added up. Whoever is not back after 15 seconds hangs.

    python bench/bare_faults.py            # some minutes; writes bare_clients.json beside the fault table
    python bench/bare_faults.py --row no-reply --client mlflow
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import isochat_conformance
from isochat.request import Api
from isochat_conformance.fault_bench import TOKEN, FaultBench
from isochat_conformance.fault_call import environment, filled
from isochat_conformance.fault_row import Asked, ClientSettings, Fault
from isochat_conformance.fault_table import load_faults

WRITTEN = Path(isochat_conformance.__file__).parent / "faults" / "shared" / "bare_clients.json"
SILENCE = 1.0
PATIENCE = 15.0
APIS: Mapping[str, Api] = {
    "rest": "chat-completions",
    "openai-chat": "chat-completions",
    "openai-responses": "responses",
    "mlflow": "chat-completions",
    "databricks-sdk": "chat-completions",
}
DISTRIBUTIONS = {
    "rest": "requests",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "mlflow": "mlflow-skinny",
    "databricks-sdk": "databricks-sdk",
}
# What a bare client has no setting for, or what is set to something that it has no word for.
UNKNOWN_SETTINGS = {"max_connections": "no bound to set"}


class Asking:
    """One question: where to, with what."""

    def __init__(self, settings: ClientSettings, places: Mapping[str, str]) -> None:
        self.host = places["url"] if settings.host is None else filled(settings.host, places)
        self.token = TOKEN if settings.token is None else settings.token
        self.endpoint = settings.endpoint
        self.headers = settings.headers
        self.params = settings.params
        said = filled(settings.ask, places)
        self.messages = [{"role": "user", "content": said * settings.repeat}] if isinstance(said, str) else said


def requests_alone(asking: Asking) -> Callable[[bool], str]:
    """The few lines that the documentation's REST examples come to."""
    import requests

    url = f"{asking.host}/serving-endpoints/{asking.endpoint}/invocations"
    headers = {"Authorization": f"Bearer {asking.token}", **asking.headers}

    def ask(stream: bool) -> str:
        body = {"messages": asking.messages, **asking.params, **({"stream": True} if stream else {})}
        reply = requests.post(url, json=body, headers=headers, timeout=SILENCE, stream=stream)
        reply.raise_for_status()
        if not stream:
            return reply.json()["choices"][0]["message"]["content"]
        lines = (line[6:] for line in reply.iter_lines() if line.startswith(b"data: "))
        return text_of(json.loads(line) for line in lines if line != b"[DONE]")

    return ask


def text_of(chunks: Iterator[Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"][:1])


def openai_client(asking: Asking) -> Any:
    import openai

    return openai.OpenAI(
        api_key=asking.token,
        base_url=f"{asking.host}/serving-endpoints",
        timeout=SILENCE,
        default_headers=dict(asking.headers),
    )


def openai_chat(asking: Asking) -> Callable[[bool], str]:
    client = openai_client(asking)

    def ask(stream: bool) -> str:
        made = client.chat.completions.create(
            model=asking.endpoint, messages=asking.messages, stream=stream, **asking.params
        )
        if not stream:
            return made.choices[0].message.content
        return "".join(chunk.choices[0].delta.content or "" for chunk in made if chunk.choices)

    return ask


def openai_responses(asking: Asking) -> Callable[[bool], str]:
    client = openai_client(asking)

    def ask(stream: bool) -> str:
        made = client.responses.create(model=asking.endpoint, input=asking.messages, stream=stream, **asking.params)
        if not stream:
            return made.output_text
        return "".join(event.delta for event in made if event.type == "response.output_text.delta")

    return ask


def mlflow_deployments(asking: Asking) -> Callable[[bool], str]:
    from mlflow.deployments import get_deploy_client

    os.environ.update(DATABRICKS_HOST=asking.host, DATABRICKS_TOKEN=asking.token)
    client = get_deploy_client("databricks")

    def ask(stream: bool) -> str:
        inputs = {"messages": asking.messages, **asking.params}
        if stream:
            return text_of(client.predict_stream(endpoint=asking.endpoint, inputs=inputs))
        return client.predict(endpoint=asking.endpoint, inputs=inputs)["choices"][0]["message"]["content"]

    return ask


def databricks_sdk(asking: Asking) -> Callable[[bool], str]:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.config import Config
    from databricks.sdk.service.serving import ChatMessage

    client = WorkspaceClient(config=Config(host=asking.host, token=asking.token, http_timeout_seconds=SILENCE))

    def ask(stream: bool) -> str:
        messages = [ChatMessage.from_dict(message) for message in asking.messages]
        made = client.serving_endpoints.query(
            name=asking.endpoint, messages=messages, **({"stream": True} if stream else {}), **asking.params
        )
        return made.choices[0].message.content

    return ask


CLIENTS: Mapping[str, Callable[[Asking], Callable[[bool], str]]] = {
    "rest": requests_alone,
    "openai-chat": openai_chat,
    "openai-responses": openai_responses,
    "mlflow": mlflow_deployments,
    "databricks-sdk": databricks_sdk,
}


def outcome(client: str, fault: Fault, asked: Asked) -> str:
    """What the client makes of it, in words. In a process of its own: its clock and environment are changed."""
    for name, reason in UNKNOWN_SETTINGS.items():
        if getattr(fault.client, name) is not None:
            return reason
    said: list[str] = []
    slept: list[float] = []
    with FaultBench() as bench, bench.servers(fault, APIS[client], asked) as (server, proxy, other):
        places = {"url": server.url, "proxy": proxy.url, "other": other.url, "port": str(server.port)}
        trusted = server.url.startswith("https") and fault.client.trusts
        asking = Asking(fault.client, places)
        variables = {name: filled(text, places) for name, text in fault.client.environ.items()}
        if trusted:
            bundle = bench.authority.bundle
            variables = {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, **variables}

        def ask() -> None:
            try:
                with environment(variables):
                    question = CLIENTS[client](asking)
                    if fault.client.before == "answer":
                        question(asked == "stream")
                    slept.clear()
                    said.append(_answered(question(asked == "stream"), fault))
            except BaseException as error:  # noqa: BLE001 whatever it is, it is what the client's user gets
                said.append(type(error).__name__)

        _skip_sleeps(slept)
        asking_thread = threading.Thread(target=ask, daemon=True)
        asking_thread.start()
        asking_thread.join(PATIENCE)
        posts = sum(request.startswith(b"POST") for one in (server, other) for request in list(one.requests))
        words = said[0] if said else "hangs"
    times = f" ×{posts}" if posts != 1 else ""
    pause = f", {sum(slept):.0f} s" if sum(slept) >= 1 else ""
    return f"{words}{times}{pause}"


def _answered(text: Any, fault: Fault) -> str:
    if isinstance(text, str) and text == fault.expect.text:
        return "answers"
    shown = repr(text)
    return f"answers {shown if len(shown) <= 24 else shown[:20] + '...'}"


def _skip_sleeps(slept: list[float]) -> None:
    """From here on every sleep is over at once, and the wall clock has gone on by it."""
    wall = time.time

    def sleep(seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        slept.append(seconds)

    time.sleep = sleep
    time.time = lambda: wall() + sum(slept)


def in_a_process(client: str, fault: Fault, asked: Asked) -> str:
    """The same, in a fork."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(60)  # a fork beside threads may inherit a lock that nobody gives back
            os.close(readable)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(writable, outcome(client, fault, asked).encode("utf-8", "backslashreplace"))
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    return told or "ends the process"


def prepare() -> None:
    """Import what each fork would import again, and turn off what is not asked."""
    import mlflow.deployments.databricks  # noqa: F401
    import openai  # noqa: F401
    from databricks.sdk.config import Config

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if hasattr(Config, "_resolve_host_metadata"):
        Config._resolve_host_metadata = lambda self: None
    for name in list(os.environ):
        if name.startswith(("DATABRICKS_", "MLFLOW_", "OPENAI_")):
            del os.environ[name]
    os.environ.update(MLFLOW_HTTP_REQUEST_TIMEOUT="1", MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT="1", HOME=os.devnull)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # What a client builds on its first call (openai its types, in seconds) is built once, and inherited.
    answered = next(fault for fault in load_faults() if fault.id == "kept-connection-serves-again")
    with FaultBench() as bench:
        for client, asked in ((client, asked) for client in CLIENTS for asked in answered.asked):
            with bench.servers(answered, APIS[client], asked) as (server, *_), contextlib.suppress(Exception):
                CLIENTS[client](Asking(answered.client, {"url": server.url}))(asked == "stream")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--row", action="append", help="only this row; the others stay as they were measured")
    parser.add_argument("--client", action="append", choices=CLIENTS, help="only this client; likewise")
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    prepare()
    runs = [
        (client, fault, asked)
        for fault in load_faults()
        for client in options.client or CLIENTS
        for asked in fault.asked
        if (not options.row or fault.id in options.row) and APIS[client] not in fault.not_applicable
    ]
    with ThreadPoolExecutor(options.at_once) as pool:
        said = list(pool.map(lambda run: in_a_process(*run), runs))
    known = json.loads(WRITTEN.read_text(encoding="utf-8"))["outcomes"] if options.row or options.client else {}
    outcomes = {fault.id: known.get(fault.id, {}) for fault in load_faults()}
    for client, fault, asked in runs:
        outcomes[fault.id].setdefault(client, {}).pop(asked, None)
    for (client, fault, asked), words in zip(runs, said, strict=True):
        outcomes[fault.id][client][asked] = words
        print(f"{fault.id}, {client}, {asked}: {words}")
    clients = {client: f"{name} {version(name)}" for client, name in DISTRIBUTIONS.items()}
    rows = [
        f"    {json.dumps(row)}: {json.dumps(of_row, ensure_ascii=False)}" for row, of_row in outcomes.items() if of_row
    ]
    lines = ["{", f'  "clients": {json.dumps(clients)},', '  "outcomes": {', ",\n".join(rows), "  }", "}", ""]
    WRITTEN.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
