"""The WebSocket: a connection's consumer, its session, and what answers each frame."""
