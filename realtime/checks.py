"""Django's system check of the configured Redis, run by `manage.py check --deploy`."""

from typing import Any

from asgiref.sync import async_to_sync
from django.core import checks

from realtime import conf
from realtime.exceptions import RealtimeError
from realtime.redis.client import address_of, connect, eviction_problem


@checks.register("redis", deploy=True)
def redis_keeps_what_it_is_given(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Report an eviction policy other than noeviction: with it Redis deletes feeds silently."""
    url = conf.get().redis_url
    try:
        problem = async_to_sync(_problem)(url)
    except RealtimeError as error:
        return [checks.Warning(f"Redis at {address_of(url)} is unavailable: {error}", id="realtime.W001")]
    hint = "Set maxmemory-policy to noeviction."
    return [checks.Error(problem, hint=hint, id="realtime.E001")] if problem else []


async def _problem(url: str) -> str:
    async with connect(url) as client:
        return eviction_problem(url, await client.info("memory"))
