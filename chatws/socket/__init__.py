"""The WebSocket: a chat connection, its session and subscriptions, and a handler for each frame."""
