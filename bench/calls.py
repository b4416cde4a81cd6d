"""What does a call through isochat cost beside the same call on the bare client?

CPU time of this process (user and system, all threads), median over interleaved rounds; the ratio is the median of
the rounds' ratios, which is steadier than either figure. The server is another process.

usage: python bench/calls.py [--rounds 9] [--calls 200]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import urllib3

import isochat

PROMPT = "What is a mixture of experts model?"
ENDPOINT = "databricks-gpt-5"
MAX_TOKENS = 64


@contextlib.contextmanager
def server() -> Iterator[tuple[str, str]]:
    """A local workspace in a process of its own: its URL and token."""
    command = [sys.executable, "-m", "isochat", "serve", "--model", "scripted", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        # A line for each request would fill the pipe.
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        try:
            yield started["url"], started["token"]
        finally:
            process.terminate()
            process.wait()
            drain.wait()


def bare_calls(url: str, token: str) -> dict[str, Callable[[], object]]:
    """One call on each bare client, set up as its documentation says."""
    import mlflow.deployments
    import openai
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    os.environ.update(DATABRICKS_HOST=url, DATABRICKS_TOKEN=token)
    pool = urllib3.PoolManager()
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"}
    messages = [{"role": "user", "content": PROMPT}]
    body = {"messages": messages, "max_tokens": MAX_TOKENS}
    invocations = f"{url}/serving-endpoints/{ENDPOINT}/invocations"
    client = openai.OpenAI(api_key=token, base_url=f"{url}/serving-endpoints")
    workspace = WorkspaceClient()
    deployments = mlflow.deployments.get_deploy_client("databricks")
    return {
        "rest": lambda: decode(pool.request("POST", invocations, body=encode(body), headers=headers).data),
        "openai-chat": lambda: client.chat.completions.create(model=ENDPOINT, messages=messages, max_tokens=MAX_TOKENS),
        "openai-responses": lambda: client.responses.create(
            model=ENDPOINT, input=messages, max_output_tokens=MAX_TOKENS
        ),
        "databricks-sdk": lambda: workspace.serving_endpoints.query(
            name=ENDPOINT, messages=[ChatMessage(role=ChatMessageRole.USER, content=PROMPT)], max_tokens=MAX_TOKENS
        ),
        "mlflow": lambda: deployments.predict(endpoint=ENDPOINT, inputs=body),
    }


def through_isochat(url: str, token: str) -> dict[str, Callable[[], object]]:
    """The same call through isochat, on each backend."""

    def call(backend: str) -> Callable[[], object]:
        client = isochat.Client(backend, endpoint=ENDPOINT, host=url, token=token)
        return lambda: client.chat(PROMPT, max_tokens=MAX_TOKENS)

    return {
        backend: call(backend) for backend in ("rest", "openai-chat", "openai-responses", "databricks-sdk", "mlflow")
    }


def microseconds(call: Callable[[], object], calls: int) -> float:
    """CPU time of one call."""
    begun = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - begun) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with server() as (url, token):
        bare, ours = bare_calls(url, token), through_isochat(url, token)
        print(f"{'backend':18}{'bare us':>10}{'isochat us':>12}{'ratio':>8}   (range)")
        for backend, call in bare.items():
            for warm in (call, ours[backend]):
                microseconds(warm, 30)
            rounds = [
                (microseconds(call, options.calls), microseconds(ours[backend], options.calls))
                for _ in range(options.rounds)
            ]
            ratios = sorted(mine / theirs for theirs, mine in rounds)
            theirs, mine = (statistics.median(column) for column in zip(*rounds, strict=True))
            spread = f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
            print(f"{backend:18}{theirs:10.0f}{mine:12.0f}{statistics.median(ratios):8.2f}   {spread}")


if __name__ == "__main__":
    main()
