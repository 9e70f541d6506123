"""The relay: it reads topics (Redis Streams) and publishes their entries to feeds."""
