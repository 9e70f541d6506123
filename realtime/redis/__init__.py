"""Redis: clients, errors, many calls in one round trip, Lua scripts. The only importer of redis-py."""

from realtime.imports import without

with without("opentelemetry"):  # redis-py has metrics of its own for it, which are off; `tracing.otel` imports it
    import redis.asyncio  # noqa: F401
