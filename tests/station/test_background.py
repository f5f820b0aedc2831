from __future__ import annotations

import asyncio

import pytest

from station.background import in_background


@pytest.mark.gen_test
async def test_the_work_ends_with_the_context() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with in_background(work()) as task:
        await begun.wait()
        assert not task.done()
    assert ended.is_set()
    assert task.cancelled()


@pytest.mark.gen_test
async def test_work_that_failed_harms_nobody_at_its_end() -> None:
    async def work() -> None:
        raise ValueError("boom")

    async with in_background(work()) as task:
        await asyncio.wait([task])
    assert isinstance(task.exception(), ValueError)


@pytest.mark.gen_test
async def test_who_is_cancelled_while_it_ends_stays_cancelled() -> None:
    ending, stuck = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await stuck.wait()

    async def caller() -> None:
        async with in_background(stubborn()):
            await asyncio.sleep(0)

    task = asyncio.create_task(caller())
    await ending.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.gen_test
async def test_work_that_a_cancellation_was_lost_on_is_cancelled_again() -> None:
    lost = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:  # as asyncio.wait_for does, when it has a result at the same moment
            lost.set()
        await asyncio.Event().wait()

    async with in_background(work()) as task:
        await asyncio.sleep(0)
    assert lost.is_set()
    assert task.cancelled()
