"""Devices with the real Python client reconnect, resume, repeat and close as on a real network."""

from types import SimpleNamespace

import pytest

from tests.simulation.forking import forked
from tests.simulation.small_world import EPOCH, world


@pytest.mark.parametrize("frames", [True, False], ids=["frames", "asgi"])
@forked
def test_devices_send_and_receive(frames: bool) -> None:
    with world(frames=frames) as here:
        readers = [here.device(user_id) for user_id in (1, 1, 2)]
        here.run(5)
        readers[0].device.send("g", "one")
        here.run(1)
        readers[2].device.send("g", "two")
        here.run(5)
        assert [reader.received for reader in readers] == [["one", "two"]] * 3
        assert [readers[0].acked, readers[2].acked] == [here.stored[:1], here.stored[1:]]
        assert all(reader.device.is_online for reader in readers)
        assert all(reader.device.differences({"g"}, {}) == [] for reader in readers)


@forked
def test_device_resumes_after_a_reset_and_after_silence() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        for number, happens in enumerate((reader.device.reset, reader.device.cut_silently)):
            happens()
            writer.device.send("g", f"message {number}")
            here.run(60)
        assert reader.received == ["message 0", "message 1"]
        assert reader.device.closes == [1006, 1006]
        assert here.ended == [1006, 4508]


@forked
def test_message_is_repeated_until_it_is_acked() -> None:
    with world() as here:
        writer = here.device(1)
        here.run(5)
        socket = writer.device.socket
        assert socket is not None
        socket.link.back.is_silent = True
        writer.device.send("g", "once")
        here.run(1)
        assert len(here.stored) == 1
        assert writer.acked == []
        socket.link.back.is_silent = False
        writer.device.reset()
        here.run(30)
        assert writer.acked == here.stored
        assert writer.received == ["once"]


@forked
def test_killed_gateway_moves_its_devices_to_the_other() -> None:
    with world() as here:
        readers = [here.device(user_id) for user_id in range(1, 7)]
        here.run(5)
        assert set(here.opened) == {"gateway-1", "gateway-2"}
        here.balancer.remove(here.gateways[0].server)
        here.gateways[0].process.kill()
        here.gateways[0].members.clear()
        here.run(60)
        readers[0].device.send("g", "after")
        here.run(5)
        assert [reader.received for reader in readers] == [["after"]] * 6


@forked
def test_device_without_a_network_comes_back() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        reader.device.lose_network(300)
        writer.device.send("g", "meanwhile")
        here.run(290)
        before = reader.device.is_online
        here.run(100)
        assert [before, reader.device.is_online] == [False, True]
        assert reader.received == ["meanwhile"]


@forked
def test_sleeping_device_resumes_when_it_wakes() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        reader.device.sleep()
        writer.device.send("g", "meanwhile")
        here.run(3_600)
        assert here.ended == [4508]
        reader.device.wake()
        here.run(30)
        assert reader.received == ["meanwhile"]
        assert reader.device.is_online


@forked
def test_connection_of_a_vanished_device_ends_as_idle() -> None:
    with world() as here:
        reader = here.device(1)
        here.run(5)
        reader.device.vanish()
        here.run(20)
        assert here.ended == []
        here.run(30)
        assert here.ended == [4508]


@forked
def test_restarted_device_keeps_its_positions_or_not() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        for keeps in (True, False):
            reader.device.kill()
            writer.device.send("g", f"keeps {keeps}")
            here.run(5)
            reader.device.restart(keeps_positions=keeps)
            here.run(5)
        assert reader.received == ["keeps True"]


@forked
def test_flapping_device_receives_everything_in_order() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        reader.device.flap(20, 0.7)
        for number in range(20):
            writer.device.send("g", f"{number}")
            here.run(1)
        here.run(60)
        assert reader.received == [f"{number}" for number in range(20)]
        assert len(reader.device.closes) > 3


@forked
def test_slow_reader_receives_late() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        reader.device.read_slowly(1_000)
        for _ in range(10):
            writer.device.send("g", "x" * 1_000)
        here.run(5)
        assert len(reader.received) < 6
        here.run(30)
        assert len(reader.received) == 10


@forked
def test_tokens_are_renewed_on_open_connections() -> None:
    with world() as here:
        reader = here.device(1, token_seconds=300)
        here.run(3_600)
        successes = [frame for frame in reader.frames if frame["type"] == "auth_success"]
        assert len(successes) > 10
        assert here.opened == [here.opened[0]]


@forked
def test_differences_are_told() -> None:
    with world() as here:
        writer, reader = here.device(1), here.device(2)
        here.run(5)
        writer.device.send("g", "one")
        here.run(5)
        ends = {"group:g": SimpleNamespace(epoch=EPOCH, offset=1)}
        assert reader.device.differences({"g"}, ends) == []
        who = "device-2.1 of user 2"
        assert reader.device.differences({"g", "h"}, {}) == [f"{who} is not subscribed to h"]
        assert reader.device.differences(set(), {}) == [f"{who} is still subscribed to g"]
        [late] = reader.device.differences({"g"}, {"group:g": SimpleNamespace(epoch=EPOCH, offset=2)})
        assert late.startswith(f"{who} is at")
        reader.device.lose_network(60)
        here.run(50)
        assert reader.device.differences({"g"}, ends) == [f"{who} is not connected"]
