"""Use Redis: clients, errors, keys, calls in one round trip, Lua scripts. The only importer of redis-py."""

from realtime.imports import without

with without("opentelemetry"):  # redis-py imports it for metrics that are off; `tracing.otel` imports it if needed
    import redis.asyncio  # noqa: F401
