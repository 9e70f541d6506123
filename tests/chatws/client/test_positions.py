"""Check a client's positions: what the offset of a frame means for it."""

from hypothesis import given
from hypothesis import strategies as st

from chatws.client import positions as module
from chatws.client.positions import Position, Positions, Step

FEED = "group:g"


def standing_at(offset: int) -> Positions:
    positions = Positions()
    assert not positions.report(FEED, "e", offset, None)
    return positions


def test_first_position_of_a_feed_starts_the_client() -> None:
    positions = standing_at(7)
    assert positions.get(FEED) == Position("e", 7)
    assert positions.resume() == {FEED: {"epoch": "e", "offset": 7}}


def test_offset_decides_the_step() -> None:
    positions = standing_at(7)
    assert positions.step(FEED, "e", 9, "") is Step.GAP
    assert positions.step(FEED, "other", 8, "") is Step.GAP
    assert positions.step("group:unknown", "e", 8, "") is Step.GAP
    assert positions.step(FEED, "e", 7, "") is Step.REPEAT
    assert positions.get(FEED) == Position("e", 7)
    assert positions.step(FEED, "e", 8, "") is Step.NEXT
    assert positions.get(FEED) == Position("e", 8)


def test_recovered_feed_keeps_its_place() -> None:
    positions = standing_at(7)
    assert not positions.report(FEED, "e", 9, True)
    assert [positions.step(FEED, "e", offset, "") for offset in (8, 9, 10)] == [Step.NEXT] * 3


def test_unrecovered_or_unexpected_position_is_a_loss() -> None:
    assert standing_at(7).report(FEED, "e", 9, False)
    assert standing_at(7).report(FEED, "new", 0, False)
    assert Positions().report(FEED, "new", 0, False)
    assert standing_at(7).report(FEED, "e", 8, None)
    assert not standing_at(7).report(FEED, "e", 7, None)


def test_loss_is_reported_once() -> None:
    positions = standing_at(7)
    assert positions.report(FEED, "new", 2, False)
    assert not positions.report(FEED, "new", 2, False)
    assert positions.report(FEED, "new", 3, False)


def test_known_id_moves_the_place_without_showing() -> None:
    positions = standing_at(0)
    assert positions.step(FEED, "e", 1, "m-1") is Step.NEXT
    positions.report(FEED, "new", 0, False)
    assert positions.step(FEED, "new", 1, "m-1") is Step.KNOWN
    assert positions.step(FEED, "new", 2, "m-2") is Step.NEXT


def test_number_of_known_ids_is_bounded() -> None:
    positions = standing_at(0)
    for number in range(1, module.KNOWN_IDS + 2):
        positions.step(FEED, "e", number, f"m-{number}")
    positions.report(FEED, "new", 0, False)
    assert positions.step(FEED, "new", 1, "m-1") is Step.NEXT
    assert positions.step(FEED, "new", 2, "m-3") is Step.KNOWN


def test_only_latest_places_are_resumed() -> None:
    positions = Positions({f"group:{number}": Position("e", 1) for number in range(module.RESUMED_FEEDS + 1)})
    positions.step("group:0", "e", 2, "")
    assert len(positions.resume()) == module.RESUMED_FEEDS
    assert "group:0" in positions.resume()
    assert "group:1" not in positions.resume()
    assert len(positions.all()) == module.RESUMED_FEEDS + 1


@given(st.lists(st.integers(0, 12), max_size=60))
def test_accepted_steps_have_no_gap_or_repeat(offsets: list[int]) -> None:
    positions = standing_at(0)
    taken = [offset for offset in offsets if positions.step(FEED, "e", offset, "") is Step.NEXT]
    assert taken == list(range(1, len(taken) + 1))


def test_positions_of_other_feeds_are_bounded() -> None:
    positions = Positions({f"group:{number}": Position("e", 1) for number in range(3_000)})
    positions.prune({"group:0", "group:1"})
    assert len(positions.all()) == 2 + module.MAX_POSITIONS
    assert list(positions.all())[:3] == ["group:0", "group:1", "group:2000"]


def test_damaged_positions_are_ignored() -> None:
    saved = {"a": None, "b": {"epoch": "e", "offset": 1}, "c": Position("e", 3), "d": Position("e", "3")}  # type: ignore[arg-type]  # damaged
    assert Positions(saved).all() == {"c": Position("e", 3)}  # type: ignore[arg-type]  # damaged
