"""Does a call on an event loop keep its deadline while it waits for one of the threads?"""

from __future__ import annotations

import asyncio
import threading

import pytest

import isochat
from isochat.transport.deadline import Deadline, SystemClock
from isochat.workers import WORKERS, Workers


def test_a_thread_is_waited_for_no_longer_than_the_deadline() -> None:
    workers, free, begun = Workers(), threading.Event(), []

    async def main() -> None:
        busy = [asyncio.create_task(workers.run(free.wait, free.set)) for _ in range(WORKERS)]
        await asyncio.sleep(0)  # each has its thread
        try:
            with pytest.raises(isochat.ChatTimeoutError) as raised:
                await workers.run(lambda: begun.append(1), lambda: None, deadline=Deadline(0.2, SystemClock()))
        finally:
            free.set()
        assert (raised.value.phase, raised.value.may_have_executed) == ("pool", False)
        assert await asyncio.gather(*busy) == [True] * WORKERS
        assert await workers.run(lambda: "free again", lambda: None) == "free again"

    asyncio.run(main())
    workers.close()

    assert begun == []


def test_work_that_has_begun_keeps_the_time_itself() -> None:
    async def main() -> str:
        over = threading.Event()

        def work() -> str:
            assert over.wait(30)
            return "done"

        async def later() -> None:
            await asyncio.sleep(0.3)
            over.set()

        ending = asyncio.create_task(later())
        said = await Workers().run(work, over.set, deadline=Deadline(0.1, SystemClock()))
        await ending
        return said

    assert asyncio.run(main()) == "done"
