"""What a client tells its program's log, and the program's observer of frames."""

import logging
from collections.abc import Callable

from chatws.client.events import Frame

logger = logging.getLogger(__name__)


class Reports:
    """Pass frames to the observer, and log failures to connect; retries must be neither silent nor a flood."""

    def __init__(self, url: str, observer: Callable[[Frame], None] | None) -> None:
        self._url = url
        self._observer = observer
        self._warned = ""
        """The last failure that was logged as a warning; empty once the client was online."""

    def observe(self, frame: Frame) -> None:
        """Call the observer. Log its errors: the connection outlives them."""
        if self._observer is None:
            return
        try:
            self._observer(frame)
        except Exception:  # the application's function may raise anything
            logger.exception("%s: the observer failed", self._url)

    def online(self) -> None:
        """Note that the client is online."""
        self._warned = ""

    def unreachable(self, message: str) -> None:
        """Log a failure to connect, once until the client was online or the message changes."""
        if message != self._warned:
            logger.warning("%s; retrying", message)
        self._warned = message
