"""The judgement at the end of a world: the ledger's, and what was logged."""

from typing import TYPE_CHECKING, Any

from chatws.events import routes

if TYPE_CHECKING:
    from tests.simulation.world import World


def judge(world: "World") -> None:
    """Add what the ledger and the log found to the world's problems."""
    ledger = world.ledger
    for message_id in world.lost.messages:
        ledger.sent.pop(message_id, None)
    gone = {device.user_id for device in world.clients if device.is_over}
    stored = {group_id: [one.message_id for one in messages] for group_id, messages in world.chat.stored.items()}
    ledger.abandoned = world.lost.messages | {
        one.message_id
        for many in world.chat.stored.values()
        for one in many
        if one.sender_id in gone or (one.sender_id, one.group_id) in world.refused
    }
    _owe_the_abandoned(world)
    ledger.judge(stored, {}, by_feed=world.shape.platform)
    ledger.judge_refusals()
    if world.shape.platform:
        world.problems += _published_once(world)[:10]
    world.problems += [f"ledger: {problem}" for problem in ledger.problems[:20]]
    if world.shape.patience == 1:  # in a calm world all that polls is slow
        world.problems += [f"late: {late}" for late in ledger.late[:10]]
    world.problems += [f"unexpected in the log: {line}" for line in world.log.unexpected[:10]]


def _published_once(world: "World") -> list[str]:
    """Where gateways publish, the stream has each message once, as long as its id is remembered."""
    entries: Any = world.redis.model.dump().get(routes.MESSAGE_NEW.encode(), ())
    found: list[str] = []
    last: dict[str, int] = {}
    for entry_id, fields in entries:
        message_id = world.message_of(fields)
        at = int(entry_id.partition(b"-")[0])
        again = message_id in last and at - last[message_id] < 1000 * world.id_seconds
        if again and entry_id not in world.poison and message_id not in world.added_again:
            found.append(f"message {message_id} was published again after {at - last[message_id]} ms, as {entry_id}")
        last[message_id] = at
    return found


def _owe_the_abandoned(world: "World") -> None:
    """What is stored is delivered, also if its sender gave up; unless Redis lost what would publish it."""
    ledger, lost = world.ledger, world.lost.messages | world.lost.intents
    for messages in world.chat.stored.values():
        for one in messages:
            if one.message_id in ledger.abandoned and one.message_id not in ledger.sent and one.message_id not in lost:
                ledger.left_behind(one.message_id, one.group_id, one.at)
