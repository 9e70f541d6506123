"""Check a client's positions: what the offset of a frame means for it."""

from hypothesis import given
from hypothesis import strategies as st

from chatws.client import places as module
from chatws.client.places import Place, Places, Step

FEED = "group:g"


def standing_at(offset: int) -> Places:
    places = Places()
    assert not places.told(FEED, "e", offset, None)
    return places


def test_first_position_of_a_feed_starts_the_client() -> None:
    places = standing_at(7)
    assert places.get(FEED) == Place("e", 7)
    assert places.resume() == {FEED: {"epoch": "e", "offset": 7}}


def test_offset_decides_the_step() -> None:
    places = standing_at(7)
    assert places.step(FEED, "e", 9, "") is Step.GAP
    assert places.step(FEED, "other", 8, "") is Step.GAP
    assert places.step("group:unknown", "e", 8, "") is Step.GAP
    assert places.step(FEED, "e", 7, "") is Step.REPEAT
    assert places.get(FEED) == Place("e", 7)
    assert places.step(FEED, "e", 8, "") is Step.NEXT
    assert places.get(FEED) == Place("e", 8)


def test_recovered_feed_keeps_its_place() -> None:
    places = standing_at(7)
    assert not places.told(FEED, "e", 9, True)
    assert [places.step(FEED, "e", offset, "") for offset in (8, 9, 10)] == [Step.NEXT] * 3


def test_unrecovered_or_unexpected_position_is_a_loss() -> None:
    assert standing_at(7).told(FEED, "e", 7, False)
    assert standing_at(7).told(FEED, "new", 0, False)
    assert standing_at(7).told(FEED, "e", 8, None)
    assert not standing_at(7).told(FEED, "e", 7, None)


def test_known_id_moves_the_place_without_showing() -> None:
    places = standing_at(0)
    assert places.step(FEED, "e", 1, "m-1") is Step.NEXT
    places.told(FEED, "new", 0, False)
    assert places.step(FEED, "new", 1, "m-1") is Step.KNOWN
    assert places.step(FEED, "new", 2, "m-2") is Step.NEXT


def test_number_of_known_ids_is_bounded() -> None:
    places = standing_at(0)
    for number in range(1, module.KNOWN_IDS + 2):
        places.step(FEED, "e", number, f"m-{number}")
    places.told(FEED, "new", 0, False)
    assert places.step(FEED, "new", 1, "m-1") is Step.NEXT
    assert places.step(FEED, "new", 2, "m-3") is Step.KNOWN


def test_only_latest_places_are_resumed() -> None:
    places = Places({f"group:{number}": Place("e", 1) for number in range(module.RESUMED_FEEDS + 1)})
    places.step("group:0", "e", 2, "")
    assert len(places.resume()) == module.RESUMED_FEEDS
    assert "group:0" in places.resume()
    assert "group:1" not in places.resume()
    assert len(places.all()) == module.RESUMED_FEEDS + 1


@given(st.lists(st.integers(0, 12), max_size=60))
def test_accepted_steps_have_no_gap_or_repeat(offsets: list[int]) -> None:
    places = standing_at(0)
    taken = [offset for offset in offsets if places.step(FEED, "e", offset, "") is Step.NEXT]
    assert taken == list(range(1, len(taken) + 1))
