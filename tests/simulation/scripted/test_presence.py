"""Histories of presence, of connections that are ended from elsewhere, of revoked tokens and of the audit."""

from functools import partial

from realtime.redis import keys
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import Person
from tests.simulation.scripted.story import Story


def is_online(story: Story, person: Person) -> bool:
    return bool(story.redis.command("HGET", keys.online(), str(person.user_id)))


@history(
    Bug(
        "a Redis that went back keeps a wrong presence if its count is right",
        "d8f6106",
        """
        realtime/presence/presence.py
        - if mark != before:
        -     self._lost_something(before)
        """,
    ),
)
def test_redis_loses_one_opening_and_one_closing(story: Story) -> None:
    story.is_quiet_checked = True
    _, bob = story.people_of("ann", "bob")
    before = story.redis.model.snapshot()
    with story.fault("Redis went back", loses=True, forgets=True, budget=12.0):
        (cid,) = story.people_of("cid")
        bob.goes()
        story.until(lambda: is_online(story, cid) and not is_online(story, bob))
        story.redis.model.restore(before)


@history(
    Bug(
        "the first gateway after an outage takes off the others",
        "9fc94fd",
        """
        realtime/presence/presence.py
        - self._quiet_until = time.monotonic() + self._lease
        realtime/presence/presence.py
        - self._quiet_until = time.monotonic() + self._lease  # it may have lost the leases of the other nodes as well
        + # it may have lost the leases of the other nodes as well
        """,
    ),
    gateways=2,
)
def test_gateway_that_reaches_redis_later_than_another(story: Story) -> None:
    story.people_of("ann")
    (bob,) = story.people_of("bob", gateway=1)
    story.until(lambda: is_online(story, bob))
    with story.fault("Redis is away", budget=12.0):
        story.redis.crash()
        story.wait(35)
        with story.stalled(story.gateway(1).process):
            story.redis.start()
            for _ in range(16):
                story.wait(0.5)
                assert is_online(story, bob)


@history(
    Bug(
        "connections over a user's limit stay if Redis's answer was lost",
        "ecb5a90",
        """
        realtime/redis/lua/presence_update.lua
        + local is_new = redis.call('HEXISTS', connections, connection) == 0
          add_connection(own, status, connection, user, i)
        - collect_excess(own)
        + if is_new then collect_excess(own) end
        """,
    ),
    realtime={"connections_per_user": 2},
)
def test_answer_about_a_connection_too_many_is_lost(story: Story) -> None:
    (oldest,) = story.people_of("ann")
    story.people_of("ann's phone")
    oldest.may_end = True
    story.wait(0.1)
    story.person("ann's watch")
    story.until(lambda: story.redis.command("ZCARD", keys.user_connections(oldest.user_id)) == 3)
    with story.fault():
        for link in story.redis_links(story.gateway().process):
            link.back.is_silent = True
        story.wait(0.02)
        for link in story.redis_links(story.gateway().process):
            link.back.is_silent = False
            link.reset()
    story.until(lambda: oldest.was_closed_with(4409))


@history(
    Bug(
        "requests to end connections are not read behind a Redis that lost them",
        "68f08b8",
        """
        realtime/presence/terminations.py
        - if newest and _order(newest[0][0]) < _order(self._read_up_to.encode()):
        + if False:
        """,
    ),
)
def test_connection_is_ended_after_redis_lost_its_clock(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    node = story.gateway().node
    for person in (ann, bob):
        person.may_end = True
        ids = [story.connection(person).connection_id]
        story.gateway().process.start(node.terminations.ask(ids, 4403), "an administrator")
        story.until(partial(person.was_closed_with, 4403))
        with story.fault("Redis lost everything, and its clock", loses=True, forgets=True, budget=12.0):
            story.redis.wall_offset -= 3_600
            story.redis.command("FLUSHALL")
            story.wait(1.5)


@history(
    Bug(
        "a Redis that went back takes revocations back",
        "aad9477",
        """
        realtime/auth/revocations.py
        - now, known, is_new = time.time(), dict(self._known), False
        + now, known, is_new = time.time(), {}, True
        """,
    ),
)
def test_redis_goes_back_behind_a_revocation(story: Story) -> None:
    (ann,) = story.people_of("ann")
    revocations, process = story.gateway().node.revocations, story.gateway().process
    token = story.connection(ann).principal
    before = story.redis.model.snapshot()
    process.start(revocations.revoke(user_id=ann.user_id), "an administrator")
    story.until(lambda: ann.was_closed_with(4401))
    with story.fault("Redis went back", loses=True, forgets=True, budget=12.0):
        story.redis.model.restore(before)
        for _ in range(20):
            story.wait(0.5)
            assert revocations.is_revoked(token)


@history(
    Bug(
        "audit events wait for the next one after a failure",
        "d8f6106",
        """
        realtime/audit/recorder.py
        - if self._waiting:  # it failed before and was started again
        -     self._news.set()
        """,
    ),
)
def test_audit_goes_on_after_a_failure(story: Story) -> None:
    story.is_quiet_checked = True
    story.expected = [
        "audit failed, restarting",
        "chatws:audit: relaying failed",
        "the lag failed",
        "the minute's report failed",
    ]
    _, bob = story.people_of("ann", "bob")
    story.wait(1)
    with story.fault():
        story.redis.command("RENAME", keys.audit_stream(), "elsewhere")
        story.redis.command("SET", keys.audit_stream(), "another type")
        bob.goes()
        story.wait(0.3)
        story.redis.command("RENAME", "elsewhere", keys.audit_stream())


@history(
    Bug(
        "a stream of requests that can't be read hides revocations",
        "d8f6106",
        """
        realtime/node/node.py
          logger.warning("termination requests can't be read now: %s", error)
        + await asyncio.sleep(CONTROL_SECONDS)
        + continue
        """,
    ),
)
def test_token_is_revoked_beside_unreadable_requests(story: Story) -> None:
    (ann,) = story.people_of("ann")
    with story.fault():
        story.redis.command("SET", keys.terminations(), "another type")
        story.wait(1.5)
        story.gateway().process.start(story.gateway().node.revocations.revoke(user_id=ann.user_id), "an administrator")
        story.until(lambda: ann.was_closed_with(4401), within=2)
        story.redis.command("DEL", keys.terminations())


@history(
    Bug(
        "records of living gateways are closed after refused writes",
        "d8f6106",
        """
        realtime/audit/reaper.py
        - await self._redis.hset(keys.reaper(), mapping={"at": int(time.time())})
        + pass
        realtime/audit/reaper.py
        - await self._redis.hset(keys.reaper(), mapping={f"{CLOSED}{node}": int(time.time()) for node in dead})
        """,
    ),
)
def test_redis_refuses_writes_for_longer_than_a_lease(story: Story) -> None:
    story.is_quiet_checked = True
    story.people_of("ann", "bob")
    story.wait(1)
    with story.fault("Redis lost everything and can't save", loses=True, forgets=True, budget=12.0):
        story.redis.command("FLUSHALL")
        story.redis.server.errors("MISCONF", 30.0)
        story.wait(30)
    story.wait(15)
    assert not [line for line in story.world.log.lines if "connection records of dead gateways" in line]


@history(
    Bug(
        "the end of a token is not looked at after the clock was set",
        "1a04272",
        """
        realtime/connection/consumer.py
        - self._schedule(min(self._seconds_left(), CLOCK_SECONDS), self._check_expiry)
        + self._schedule(self._seconds_left(), self._check_expiry)
        """,
    ),
)
def test_clock_of_a_gateway_is_set_forward(story: Story) -> None:
    story.expected = ["'code': 401"]
    (ann,) = story.people_of("ann")
    process = story.gateway().process
    with story.fault("a clock is wrong", turns_clock=True):
        process.wall_offset = 7_200
        story.until(lambda: ann.was_closed_with(4401), within=65)
        process.wall_offset = 0
