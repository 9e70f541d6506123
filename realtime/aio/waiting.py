"""Wait for an event, but not for ever."""

import asyncio


async def wait_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set or so many seconds have passed; return whether it is set.

    `asyncio.wait_for` would do, but on Python 3.11 it swallows a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
