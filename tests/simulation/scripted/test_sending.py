"""Histories of messages: stored once, acked once they are stored, published once, whatever fails in between."""

from tests.simulation.chat_service.faults import Fault
from tests.simulation.scripted.bug import Bug
from tests.simulation.scripted.history import history
from tests.simulation.scripted.person import is_answered
from tests.simulation.scripted.story import Story


def frame_of(text: str, group_id: str) -> dict[str, object]:
    """Return a frame that can be sent again, by any connection of its user."""
    data = {"group_id": group_id, "msg_type": 1, "content": text, "image_url": ""}
    return {"type": "send_message", "message_id": "a frame", "timestamp": 1_800_000_000, "data": data}


@history(
    Bug(
        "a stored message that is sent again while Redis is away is denied",
        "f386440",
        """
        chatws/messaging/sending.py
        - if error.code == UNAVAILABLE and await self._is_stored(event):
        -     return None
        """,
    ),
    platform=True,
)
def test_stored_message_is_repeated_while_redis_is_away(story: Story) -> None:
    ann, phone, bob = story.people_of("ann", "ann's phone", "bob")
    group = story.group(ann, bob)
    frame = frame_of("once", group)
    first = ann.resend(frame)
    story.until(lambda: is_answered(first))
    with story.fault("Redis is away", budget=12.0):
        story.redis.crash()
        again = phone.resend(frame)
        story.wait(8)
        story.redis.start()
    story.until(lambda: again.done(), within=10)
    assert is_answered(again)
    assert not phone.saw("error")


@history(
    Bug(
        "the sender of a stored message gets an error after eight seconds without Redis",
        "67237c0",
        """
        chatws/messaging/message_publisher.py
        - NOTE_SECONDS, PUBLISH_SECONDS = 2.0, 60.0
        + NOTE_SECONDS, PUBLISH_SECONDS = 2.0, 8.0
        """,
    ),
    platform=True,
)
def test_redis_is_away_once_a_message_is_stored(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("Redis is away", budget=12.0):
        sending = ann.say(group, "stored")
        story.until(lambda: story.chat.stored.get(group))
        story.redis.crash()
        story.wait(15)
        story.redis.start()
    story.until(lambda: sending.done(), within=10)
    assert not ann.saw("error")


@history(
    Bug(
        "a message stored by a gateway that died is never delivered",
        "ADR 25",
        """
        chatws/messaging/message_publisher.py
        - while claimed := await self._intents.claim(MAX_AT_ONCE):
        + while claimed := []:
        """,
    ),
    platform=True,
    gateways=2,
)
def test_gateway_dies_once_a_message_is_stored(story: Story) -> None:
    (ann,) = story.people_of("ann")
    (bob,) = story.people_of("bob", gateway=1)
    group = story.group(ann, bob)
    ann.say(group, "stored")
    story.until(lambda: story.chat.stored.get(group))
    with story.fault("a gateway is killed", budget=8.0):
        story.kill_gateway(0)
        story.until(lambda: bob.read("stored"), within=8)
    story.start_gateway(0)  # only now can she send it again


@history(
    Bug(
        "a stored message is answered with the chat service's error",
        "ADR 25",
        """
        chatws/messaging/sending.py
        - if (error.changed_nothing and noted is not Noted.BEFORE) or not await self._is_stored(event):
        -     raise
        + raise
        """,
    ),
    platform=True,
)
def test_chat_service_stores_and_fails(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("the chat service commits and fails"):
        story.chat.faults.begin(Fault.COMMITS_AND_FAILS, "SaveMessage")
        sending = ann.say(group, "stored")
        story.until(lambda: sending.done())
        story.chat.faults.end()
    assert not ann.saw("error")


@history(
    Bug(
        "the history is asked once although an instance hangs",
        "7f60bd8",
        """
        chatws/messaging/sending.py
        - await asyncio.sleep(PAUSE_SECONDS)
        + return False
        """,
    ),
    platform=True,
)
def test_history_fails_once_behind_a_stored_message(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("the chat service commits and fails, and its history fails"):
        story.chat.faults.begin(Fault.COMMITS_AND_FAILS, "SaveMessage")
        story.chat.faults.begin(Fault.FAILS, "GetMessageHistory")
        sending = ann.say(group, "stored")
        story.wait(0.15)
        story.chat.faults.end()
        story.until(lambda: sending.done())
    assert not ann.saw("error")


@history(
    Bug(
        "a refusal denies what an earlier try has stored",
        "64196aa",
        """
        chatws/messaging/sending.py
        - if (error.changed_nothing and noted is not Noted.BEFORE) or not await self._is_stored(event):
        + if error.changed_nothing or not await self._is_stored(event):
        """,
    ),
    platform=True,
)
def test_second_try_of_a_stored_message_is_refused(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("the chat service commits and fails, and is overloaded", budget=8.0):
        story.chat.faults.begin(Fault.COMMITS_AND_FAILS, "SaveMessage")
        story.chat.faults.begin(Fault.FAILS, "GetMessageHistory")
        sending = ann.say(group, "stored")
        story.until(lambda: ann.saw("error", code=503))
        story.chat.faults.end()
        story.chat.faults.begin(Fault.OVERLOADED, "SaveMessage")
        story.until(lambda: sending.done(), within=8)
        story.chat.faults.end()


@history(
    Bug(
        "one instance that hangs opens the circuit",
        "7f60bd8",
        """
        chatws/chat_service/circuit_breaker.py
        - if self._answered_at >= began:
        -     return
        """,
    ),
)
def test_one_of_two_instances_hangs(story: Story) -> None:
    people = story.people_of(*(f"member {number}" for number in range(12)))
    group = story.group(*people)
    story.post(group, "to be read")
    story.until(lambda: people[0].read("to be read"))
    with story.fault("an instance hangs", budget=8.0):
        story.chat.instances[0].faults.begin(Fault.HANGS, "MarkRead")
        marks = [person.marks(group, "posted-1") for person in people]
        for _ in range(60):
            story.wait(0.1)
            assert not story.gateway().chat._circuit.is_open
        story.chat.instances[0].faults.end()
    story.until(lambda: all(map(is_answered, marks)), within=12)


@history(
    Bug(
        "a message that is not stored is acked beside a replica that lags",
        "72c89cc, ADR 25",
        """
        chatws/messaging/stored.py
        - if not older or (not any(message.message_id in seen for message in older) and _is_older(older[0], seen)):
        + if not older or not all(message.message_id in seen for message in older):
        """,
    ),
    platform=True,
)
def test_save_fails_beside_a_replica_that_lags(story: Story) -> None:
    people = story.people_of(*(f"member {number}" for number in range(6)))
    group = story.group(*people)
    for number in range(110):
        story.post(group, f"old {number}")
    story.wait(70)
    with story.fault("the chat service fails, and a replica lags", budget=8.0):
        story.chat.instances[0].lag_seconds = 3.0
        story.chat.faults.begin(Fault.FAILS, "SaveMessage")
        for person in people:
            story.post(group, f"new, before {person.name}'s")
            person.say(group, f"{person.name}'s")
            story.wait(0.3)
        story.wait(0.5)
        story.chat.faults.end()
        story.chat.instances[0].lag_seconds = 0.0
        story.wait(8)


@history(
    Bug(
        "one frame over two connections is stored by two calls",
        "1bb13ec",
        """
        chatws/messaging/sending.py
        - attempt = self._under_way.get(message_id)
        + attempt = None
        chatws/messaging/sending.py
        - attempt.add_done_callback(lambda _: self._under_way.pop(message_id))
        + attempt.add_done_callback(lambda _: self._under_way.pop(message_id, None))
        """,
    ),
    platform=True,
)
def test_two_devices_send_one_frame_at_once(story: Story) -> None:
    ann, phone, bob = story.people_of("ann", "ann's phone", "bob")
    group = story.group(ann, bob)
    with story.fault("a slow chat service"):
        story.chat.faults.begin(Fault.SLOW, "SaveMessage", seconds=0.5)
        calls = story.calls_of("SaveMessage")
        both = [person.resend(frame_of("once", group)) for person in (ann, phone)]
        story.until(lambda: all(map(is_answered, both)))
        story.chat.faults.end()
    assert len(calls) == 1


@history(
    Bug(
        "a call that an ending instance takes back is an error 500",
        "0dfd7f2",
        """
        chatws/chat_service/grpc.py
        - grpc.StatusCode.CANCELLED: 503,  # a stopping instance returns its calls with this status
        """,
    ),
)
def test_instances_end_without_grace(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("instances end", budget=8.0):
        story.chat.faults.begin(Fault.HANGS, "SaveMessage")
        sending = ann.say(group, "hello")
        for _ in range(12):
            for instance in story.chat.instances:
                story.wait(0.1)
                instance.stop()
                instance.start()
        story.chat.faults.end()
        story.until(lambda: sending.done(), within=10)
    assert not ann.saw("error", code=500)


@history(
    Bug(
        "clients give up a message that the chat service fails to store for a while",
        "ADR 25",
        """
        chatws/chat_service/grpc.py
        - grpc.StatusCode.UNKNOWN: 503,  # a service in Go or Python answers this for any failure, so it may be transient
        + grpc.StatusCode.UNKNOWN: 500,
        """,  # noqa: E501
    ),
)
def test_chat_service_fails_for_a_while(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("the chat service fails", budget=8.0):
        story.chat.faults.begin(Fault.FAILS, "SaveMessage")
        sending = ann.say(group, "hello")
        story.wait(15)
        story.chat.faults.end()
        story.until(lambda: is_answered(sending), within=8)


@history(
    Bug(
        "an overloaded chat service does not say when to ask again",
        "64196aa",
        """
        chatws/chat_service/port.py
        - elif code in (OVERLOADED, UNAVAILABLE):
        + elif code == UNAVAILABLE:
        """,
    ),
)
def test_chat_service_is_overloaded(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("the chat service is overloaded", budget=8.0):
        story.chat.faults.begin(Fault.OVERLOADED, "SaveMessage")
        sending = ann.say(group, "hello")
        story.wait(1)
        story.chat.faults.end()
        story.until(lambda: sending.done(), within=8)
    assert ann.saw("error", code=429, retry_after=2)


@history(
    Bug(
        "a frame that takes long holds up pings",
        "a354330",
        """
        realtime/node/node.py
        - connection.read_ahead()
        + pass
        """,
    ),
)
def test_ping_overtakes_a_message_that_takes_long(story: Story) -> None:
    ann, bob = story.people_of("ann", "bob")
    group = story.group(ann, bob)
    with story.fault("a slow chat service", budget=8.0):
        story.chat.faults.begin(Fault.SLOW, "SaveMessage", seconds=4.5)
        sending = ann.say(group, "slow")
        story.wait(0.5)
        ann.pings()
        story.until(lambda: ann.saw("pong"), within=3)
        assert not sending.done()
        story.until(lambda: sending.done())
        story.chat.faults.end()
