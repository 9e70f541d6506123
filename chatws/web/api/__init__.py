"""The HTTP API (docs/protocol.md, HTTP) on Django REST framework, over the same `ChatGateway` as the sockets."""
