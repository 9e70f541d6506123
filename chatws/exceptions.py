"""The errors that handlers raise on purpose; the connection answers each with an `error` frame."""


class FrameError(Exception):
    """A frame was rejected or failed. ``code`` follows HTTP (docs/protocol.md, "Errors")."""

    def __init__(self, code: int, message: str, *, reason: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.retry_after = retry_after


class BadFrame(FrameError):
    """A frame is malformed (400) or has a field over its limit (413); too many of them close the connection."""

    def __init__(self, message: str, *, code: int = 400, message_id: str = "") -> None:
        super().__init__(code, message)
        self.message_id = message_id
