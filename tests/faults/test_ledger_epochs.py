"""Check what the ledger excuses in an epoch that went on from an earlier offset, while nobody could know."""

import pytest

from tests.faults.fabricated import LEFT, TRIM, History, auth, publication, removal
from tests.support.ledger import Kind

WENT_BACK = Kind("Redis went back", loses=True, forgets=True, repeats=True)


@pytest.fixture
def history() -> History:
    return History()


@pytest.mark.parametrize(("offset", "count"), [(1, 0), (2, 1)])
def test_leak_is_found_unless_the_removal_took_a_place(history: History, offset: int, count: int) -> None:
    """The removed reader received offset 3 before Redis went back to an offset; then the removal is given offset 2."""
    history.at(1).get(1, 2, 3)
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 1)))
    history.ledger.unnoticed("group:g", ("e", offset))
    with history.ledger.removing("g", 1):
        history.at(3)
    history.one.observe(LEFT)
    two.observe(removal(2, 1))
    assert history.judge("user 2").count["leaked"] == count


def test_leak_behind_the_offsets_that_were_given_twice_is_found(history: History) -> None:
    history.at(1).get(1)
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 1)))
    history.ledger.unnoticed("group:g", ("e", 0))
    with history.ledger.removing("g", 1):
        history.at(3)
    two.observe(removal(2, 1))
    history.one.observe(removal(2, 1))
    history.get(3)
    history.one.observe(LEFT)
    assert history.judge("user 2").count["leaked"] == 1


@pytest.mark.parametrize(("offset", "kind", "count"), [(0, WENT_BACK, 0), (1, WENT_BACK, 1), (0, TRIM, 1)])
def test_repeat_is_found_unless_its_place_was_taken(history: History, offset: int, kind: Kind, count: int) -> None:
    history.at(1).acked(1)
    history.get(1)
    history.cause(kind, 2, 2.5)
    history.ledger.unnoticed("group:g", ("e", offset))
    history.at(3).one.observe(publication(2, "m-1"))
    assert history.judge().count["repeated"] == count


@pytest.mark.parametrize(("offset", "count"), [(0, 0), (1, 1)])
def test_late_notice_is_found_unless_the_message_took_a_place(history: History, offset: int, count: int) -> None:
    """Message 2 is at the place of message 1, of which the reader has the first one; a notice comes 7 s later."""
    two = history.ledger.reader("user 2")
    two.observe(auth(("e", 0)))
    history.at(1).acked(1)
    history.get(1)
    history.cause(WENT_BACK, 1.5, 1.6)
    history.ledger.unnoticed("group:g", ("e", offset))
    history.at(2).acked(2)
    two.observe(publication(1, "m-2"))
    history.at(9).one.observe(auth(("f", 0), recovered=False, connection="c-2"))
    assert len(history.judge("user 1").late) == count
