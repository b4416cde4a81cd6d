"""A program that asks for hostile answers, one after the other, and says by how much its memory has grown for each.

Usage: measuring.py BACKEND MODE URL NAME... For each name a line of JSON: the name, the error's class, megabytes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

import isochat


def megabytes(field: str) -> float:
    """Of this process: ``VmRSS`` is what it holds, ``VmHWM`` the most that it has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def ask(client: isochat.Client, mode: str, prompt: str) -> str:
    async def on_a_loop() -> str:
        if mode == "async":
            return (await client.achat(prompt)).text
        return (await (await client.achat(prompt, stream=True)).result()).text

    try:
        if mode == "sync":
            return client.chat(prompt).text
        if mode == "stream":
            return client.chat(prompt, stream=True).result().text
        return asyncio.run(on_a_loop())
    except isochat.ChatError as error:
        return type(error).__name__


def main() -> None:
    backend, mode, url, *names = sys.argv[1:]
    client = isochat.Client(
        backend, endpoint="e", host=url, token="dapi-of-the-test", max_retries=0, deadline=120, trust_env=False
    )
    assert ask(client, mode, "<<nothing>>") == "hello"  # what a first call loads is no answer's
    for name in names:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = megabytes("VmRSS")
        said = ask(client, mode, f"<<{name}>>")
        said = said if len(said) < 1000 else str(len(said))  # of a long answer it is enough how long it is
        print(json.dumps([name, said, megabytes("VmHWM") - before]), flush=True)


if __name__ == "__main__":
    main()
