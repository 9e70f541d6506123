"""Devices with a client of the older protocol send, receive, reconnect and repeat."""

import pytest

from tests.simulation.forking import forked
from tests.simulation.plain_clients import Way
from tests.simulation.small_world import world


@pytest.mark.parametrize("way", Way)
@forked
def test_plain_client_sends_and_receives_and_repeats(way: Way) -> None:
    with world() as here:
        writer, reader = here.plain(1, way), here.plain(2, way)
        here.run(5)
        writer.device.send("g", "one")
        here.run(5)
        assert [writer.received, reader.received] == [["one"], ["one"]]
        socket = writer.device.socket
        assert socket is not None
        socket.link.back.is_silent = True
        writer.device.send("g", "two")
        here.run(100)
        assert reader.received == ["one", "two"]
        assert writer.acked == here.stored
        assert writer.device.pending == {}
        assert writer.device.closes == [1006]
        assert [one.device.differences({"g"}, {}) for one in (writer, reader)] == [[], []]


@forked
def test_plain_client_misses_what_was_said_meanwhile() -> None:
    with world() as here:
        writer, reader = here.device(1), here.plain(2, Way.HEADER)
        here.run(5)
        reader.device.lose_network(100)
        writer.device.send("g", "missed")
        here.run(200)
        writer.device.send("g", "next")
        here.run(5)
        assert reader.received == ["next"]
        reader.device.close()
        here.run(60)
        assert here.ended[-1] == 1000
        assert not reader.device.is_online
