"""Check the server's HTTP channel with its transport and its timers replaced."""

from typing import Any

from django.conf import settings

from realtime.server.http import Channel  # isort: skip  # before Twisted: it installs the reactor
from realtime.server.transport import reactor  # isort: skip
from twisted.internet.testing import StringTransport


def test_requests_behind_an_unread_answer_are_not_read_on() -> None:
    """A client that sends on while an answer is sent that it does not read would fill the memory."""
    channel: Any = Channel()
    transport: Any = StringTransport()  # type: ignore[no-untyped-call]
    channel.conf, channel.timeOut, channel.callLater = settings.REALTIME, None, reactor.callLater
    channel.makeConnection(transport)
    channel._handlingRequest = True
    channel.setRawMode()
    channel.pauseProducing()  # the transport is full
    channel.dataReceived(b"GET")
    assert transport.producerState == "paused"
    channel._handlingRequest = False
    channel.resumeProducing()  # the answer was read
    assert transport.producerState == "producing"
    channel.connectionLost(None)
