"""Fabricate histories for the tests of the ledger: on a clock of their own, with one chat group and one reader."""

from typing import Any

from tests.support.ledger import Kind, Ledger, Place, Reader

FLUSH = Kind("FLUSHALL", loses=True, forgets=True)
TRIM = Kind("trim", loses=True)
RELAY = Kind("relay killed", budget=5.0)
RESTART = Kind("restart")
DROP = Kind("network dropped", connect=20.0)
CLOCK = Kind("clock set back", turns_clock=True)
Frame = dict[str, Any]


class History:
    """A fabricated run on its own clock: one chat group, one reader that is a member all the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ledger = Ledger(lambda: self.now, lambda: 1_000.0 + self.now)
        self.one = self.ledger.reader("user 1")
        self.stored: list[str] = []
        self.one.observe(auth(("e", 0)))

    def at(self, now: float) -> "History":
        self.now = now
        return self

    def acked(self, *numbers: int, took: float = 0.1, sender: str = "") -> None:
        for number in numbers:
            self.ledger.acked(f"m-{number}", "g", self.now - took, sender)
            self.stored.append(f"m-{number}")

    def cause(self, kind: Kind, began: float, ended: float, **scope: Any) -> None:
        cause = self.ledger.causes.begin(kind, **scope)
        cause.began, cause.ended = began, ended

    def get(self, *offsets: int, reader: Reader | None = None, epoch: str = "e") -> None:
        for offset in offsets:
            (reader or self.one).observe(publication(offset, epoch=epoch))

    def judge(self, *steady: str, by_feed: bool = False) -> Ledger:
        groups = {name: ["g"] for name in steady or ("user 1",)}
        self.ledger.judge({"g": self.stored}, groups, by_feed=by_feed)
        return self.ledger


def publication(offset: int, message_id: str = "", epoch: str = "e") -> Frame:
    data = {"message_id": message_id or f"m-{offset}", "group_id": "g"}
    return {"type": "new_message", "data": data, "feed": "group:g", "epoch": epoch, "offset": offset}


def removal(offset: int, user_id: int) -> Frame:
    data = {"group_id": "g", "user_id": user_id, "change": "removed"}
    return {"type": "group_member", "data": data, "feed": "group:g", "epoch": "e", "offset": offset}


def position(at: Place, recovered: bool | None) -> Frame:
    given = {"feed": "group:g", "epoch": at[0], "offset": at[1]}
    return given if recovered is None else {**given, "recovered": recovered}


def joined(at: Place, recovered: bool | None = None) -> Frame:
    return {"type": "group_joined", "data": position(at, recovered)}


def reset(at: Place) -> Frame:
    return {"type": "feed_reset", "data": position(at, False)}


def auth(at: Place | None, recovered: bool | None = None, connection: str = "c-1") -> Frame:
    feeds = [] if at is None else [position(at, recovered)]
    return {"type": "auth_success", "data": {"connection_id": connection, "feeds": feeds}}


LEFT: Frame = {"type": "group_left", "data": {"group_id": "g"}}
