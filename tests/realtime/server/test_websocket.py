"""Check the server's WebSocket protocol with its transport replaced."""

from types import SimpleNamespace
from typing import Any

from realtime.server.websocket import LARGEST, FramesProtocol


def test_frames_sent_before_the_handshake_ends_are_bounded() -> None:
    """While the application looks at the token, autobahn keeps whatever comes."""
    protocol: Any = FramesProtocol()
    aborted: list[bool] = []
    protocol.transport = SimpleNamespace(abortConnection=lambda: aborted.append(True))
    protocol.state, protocol.maxMessagePayloadSize, protocol.maxFramePayloadSize = protocol.STATE_CONNECTING, 0, 0
    protocol.data = bytes(LARGEST + 1)
    protocol.dataReceived(b"more")
    assert aborted
    assert len(protocol.data) == LARGEST + 1
