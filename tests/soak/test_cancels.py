"""What is left of calls that are cancelled at any point? Nothing: no descriptor, thread, task, place or word.

The points are random, seeded, and of two kinds: so many turns of the loop or so much time after the call began, and
certain states that the server holds for ever (a queue for a connection, no head, half a head, a head, half a body, a
stream that has stalled).
"""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

import isochat

# Two thousand, most of them where a call costs least.
CANCELS = {"rest": 1000, "openai-chat": 300, "openai-responses": 300, "databricks-sdk": 250, "mlflow": 150}
AT_ONCE = 40
PLACES = 8
MODES = ("answer", "slowly", "silent", "half-head", "head", "stalled")


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where connecting takes for ever: its queue is full and nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
            waiting.append(caller)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for caller in waiting:
            caller.close()


async def ask_and_read(client: isochat.Client, prompt: str, stream: bool, began: asyncio.Event) -> str:
    if not stream:
        return (await client.achat(prompt)).text
    answer = await client.achat(prompt, stream=True)
    began.set()
    return "".join([chunk.text async for chunk in answer])


async def first_text(stream: isochat.AsyncChatStream) -> str:
    async for chunk in stream:
        if chunk.text:
            return chunk.text
    return ""


async def cancel_one(client: isochat.Client, number: int, chance: random.Random, ask: Any, served: bool) -> str:
    """One call, cancelled at some point; gives what became of it."""
    mode, stream, count = chance.choice(MODES), chance.random() < 0.7, chance.randint(1, 4)
    began = asyncio.Event()
    task = asyncio.create_task(ask_and_read(client, ask(number, mode, count), stream, began))
    match chance.randrange(3 if served else 2):
        case 0:
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
        case 1:
            await asyncio.sleep(chance.random() * 0.012)
        case 2:
            if stream and mode in ("head", "stalled", "slowly", "answer"):
                await asyncio.wait({task, asyncio.ensure_future(began.wait())}, return_when="FIRST_COMPLETED")
                began.set()
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
    task.cancel()
    try:
        said = await task
    except asyncio.CancelledError:
        return "cancelled"
    assert (said, mode in ("answer", "slowly")) == (f"{number} " * count, True)
    return "answered"


async def cancel_many(client: isochat.Client, cancels: int, seed: str, ask: Any, served: bool = True) -> set[str]:
    numbers = iter(range(1, cancels + 1))

    async def go_on(lane: int) -> set[str]:
        chance = random.Random(f"{seed} {lane}")
        return {await cancel_one(client, number, chance, ask, served) for number in numbers}

    return set().union(*await asyncio.gather(*(go_on(lane) for lane in range(AT_ONCE))))


def test_cancels_leave_nothing(
    backend: str,
    serving: Any,
    deaf: str,
    make_client: Any,
    ask: Any,
    held: Any,
    times: Any,
    until: Any,
    capfd: Any,
    caplog: Any,
) -> None:
    client = make_client(backend, max_connections=PLACES)
    unreachable = make_client(backend, host=deaf, max_connections=PLACES)
    cancels, complaints = times(CANCELS[backend]), list[Any]()

    async def talk() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        assert (await client.achat(ask(0))).text == "0 " * 4
        kinds = await cancel_many(client, cancels * 3 // 4, f"{backend} served", ask)
        # How many are answered before their cancel comes depends on the machine.
        assert {"cancelled"} <= kinds <= {"cancelled", "answered"}
        assert await cancel_many(unreachable, cancels // 4, f"{backend} deaf", ask, served=False) == {"cancelled"}

        # The server has seen every client leave, though none of the clients is closed.
        while await asyncio.to_thread(lambda: serving.state()["waiting"]):
            pass
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # Each place can be used, all at once: a stream holds each of them, and one more call has to wait.
        streams = await asyncio.gather(
            *(client.achat(ask(n, "stalled", 2), stream=True, deadline=30) for n in range(PLACES))
        )
        assert [await first_text(stream) for stream in streams] == [f"{n} " for n in range(PLACES)]
        with pytest.raises(isochat.ChatTimeoutError) as refused:
            await client.achat(ask(9), deadline=0.2)
        assert refused.value.phase == "pool"
        for stream in streams:
            await stream.aclose()
        answers = await asyncio.gather(*(client.achat(ask(n)) for n in range(100)))
        assert [answer.text for answer in answers] == [f"{n} " * 4 for n in range(100)]
        await unreachable.aclose()
        await client.aclose()

    before = held()
    asyncio.run(talk())
    gc.collect()
    until(lambda: not before.more())
    until(lambda: serving.state()["open"] == 1)  # that of this question
    assert complaints == []
    # Below a warning the loop and the clients tell of their ordinary work.
    assert [record.getMessage() for record in caplog.records if record.levelno > 20] == []
    assert capfd.readouterr() == ("", "")
