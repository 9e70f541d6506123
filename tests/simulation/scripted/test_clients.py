"""Histories of clients and of single connections: their tokens, their frames, how they begin and end."""

from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import is_answered
from tests.simulation.scripted.story import Story


@history(
    Bug(
        "a client whose token was revoked stops for good",
        "85c391f",
        """
        chatws/client/client.py
        - if gone.reason == "revoked":
        -     self._backoff.wait_for(NEXT_SECOND)
        """,
    ),
)
def test_revoked_client_comes_back_with_a_new_token(story: Story) -> None:
    (ann,) = story.people_of("ann")
    story.wait(0.52)  # to the beginning of a second
    story.gateway().process.start(story.gateway().node.revocations.revoke(user_id=ann.user_id), "an administrator")
    story.until(lambda: ann.was_closed_with(4401))
    story.until(lambda: ann.is_online)


@history(
    Bug(
        "a token function that never settles stops the client",
        "8f67ab9",
        """
        chatws/client/tokens.py
        - limit = asyncio.timeout(self._patience)
        + limit = asyncio.timeout(None)
        """,
    ),
)
def test_token_function_hangs_once(story: Story) -> None:
    ann = story.person("ann")
    ann.hangs_once()
    story.until(lambda: ann.is_online, within=25)


@history(
    Bug(
        "a device with a wrong clock never renews its token",
        "8f67ab9",
        """
        chatws/client/tokens.py
        - self._ends_at += expires_at - timestamp
        + self._ends_at += expires_at - time.time()
        """,
    ),
)
def test_device_with_a_wrong_clock_renews_its_token(story: Story) -> None:
    ann = story.person("ann", token_seconds=30)
    ann.process.wall_offset = 7_200
    story.wait(60)
    assert ann.closes == []


@history(
    Bug(
        "a frame without an answer is not sent again",
        "24ceed6",
        """
        chatws/client/requests.py
        - for entry in self._entries:
        -     entry.sent = False
        + pass
        """,
    ),
)
def test_connection_ends_between_a_message_and_its_answer(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("ann's connection ends"):
        sending = ann.say(group, "hello")
        story.until(lambda: story.chat.stored.get(group))
        ann.reset()
    story.until(lambda: is_answered(sending))


@history(
    Bug(
        "a repeated join has the position of its first time",
        "45240d7",
        """
        chatws/client/client.py
        - return await self.request("join_group", {"group_id": group_id})
        + at = self.positions.get(f"group:{group_id}")
        + resume = {"resume": {"epoch": at.epoch, "offset": at.offset}} if at else {}
        + return await self.request("join_group", {"group_id": group_id, **resume})
        chatws/client/requests.py
        - entry.sent = self._write(self._text(entry))
        + entry.sent = self._write(entry.text)
        """,
    ),
)
def test_leave_and_join_are_repeated_after_a_reconnect(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(bob, ann)
    with story.fault("ann's connection receives nothing, and ends"):
        assert ann.socket is not None
        answers = ann.socket.link.back
        answers.is_silent = True
        ann.leave(group)
        joining = ann.join(group)
        story.post(group, "meanwhile")
        story.until(lambda: bob.read("meanwhile"))
        answers.is_silent = False
        ann.reset()
    story.until(lambda: is_answered(joining))
    assert ann.texts == ["meanwhile"]


@history(
    Bug(
        "a leave that was refused is repeated behind the join that followed it",
        "45240d7",
        """
        chatws/client/requests.py
        - LANES = {"send_message": "messages", "join_group": "subscription", "leave_group": "subscription"}
        + LANES = {"send_message": "messages"}
        """,
    ),
    realtime={"frames_per_second": 1.0, "burst_seconds": 5.0},
)
def test_leave_is_refused_before_a_join(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    for _ in range(4):
        ann.asks_who_is_here(group)
    ann.leave(group)
    story.until(lambda: ann.saw("error", code=429))
    story.wait(1.0)
    joining = ann.join(group)
    story.until(lambda: is_answered(joining), within=10)


@history(
    Bug(
        "a session that can't begin ends without a word",
        "faee082",
        """
        chatws/socket/connection.py
        - except Exception:  # a boundary: without a session the connection is of no use; the caller logs the cause
        -     self._fail(message_id)
        + except Exception:  # a boundary: without a session
        +     self._connection.close(CloseCode.INTERNAL_ERROR)
        """,
    ),
)
def test_session_fails_to_begin(story: Story) -> None:
    story.expected = ["a frame of connection", "'code': 500", "with 4500"]
    story.people_of("bob")
    memberships = story.gateway().memberships

    def enter(*_: object) -> None:
        del vars(memberships)["enter"]
        raise ValueError("a mistake of ours")

    vars(memberships)["enter"] = enter
    ann = story.person("ann")
    story.until(lambda: ann.was_closed_with(4500))
    assert ann.saw("error", code=500)
    story.until(lambda: ann.is_online)


@history(
    Bug(
        "an authentication that fails by a mistake of ours leaves the connection open",
        "faee082",
        """
        chatws/socket/connection.py
          except Exception:  # a boundary: the deadline no longer ends this connection; the caller logs the cause
        -     self._fail(frame.message_id)
              raise
        """,
    ),
)
def test_authentication_fails_by_a_mistake(story: Story) -> None:
    story.expected = ["a frame of connection", "'code': 500", "with 4500"]
    node = story.gateway().node

    async def authenticate(token: str) -> None:
        del vars(node)["authenticate"]
        raise ValueError("a mistake of ours")

    vars(node)["authenticate"] = authenticate
    ann = story.person("ann")
    story.until(lambda: ann.was_closed_with(4500))
    assert ann.saw("error", code=500)
    story.until(lambda: ann.is_online)


@history(
    Bug(
        "a gateway without connections ends before the balancer knows",
        "d4470fe",
        """
        realtime/node/node.py
        - await asyncio.sleep(conf.drain_delay)
          if not self.connections:
              return
        + await asyncio.sleep(conf.drain_delay)
        """,
    ),
    gateways=2,
    realtime={"drain_delay": 3.0},
)
def test_client_comes_to_an_empty_gateway_that_ends(story: Story) -> None:
    story.gateway(0).stop()
    story.wait(1)
    ann = story.person("ann")
    story.until(lambda: ann.was_closed_with(4501))
    ann.moves(1)
    story.until(lambda: ann.is_online)
    story.world.gateways[0].running = None
