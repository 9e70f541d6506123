"""Every key of ours in Redis. Keys of one feed or one topic share braces, so that Redis Cluster keeps them together."""

from typing import NamedTuple

PREFIX = "chatws:"

AUDIT_STREAM = f"{PREFIX}audit"
NODES = f"{PREFIX}nodes"
"""Sorted set: the gateways, by when their lease ends (Unix seconds)."""
ONLINE = f"{PREFIX}online"
"""Hash: connections of each user who has one."""
TERMINATIONS = f"{PREFIX}kicks"
"""Hash: connections that are to be closed, with the close code."""
REVOKED = f"{PREFIX}revoked"
"""Hash: whose tokens are revoked, with up to when they were issued and until when that matters."""
REVOKED_VERSION = f"{PREFIX}revoked:version"
TOPICS = f"{PREFIX}topics"
"""Set: the topics that are relayed."""
DEAD_LETTER_TOPICS = f"{PREFIX}dlq:topics"
"""Set: the topics that have dead letters."""
USER_CONNECTIONS = f"{PREFIX}user:"
"""Prefix of a user's sorted set: its connections, by when they opened."""
USER_STATUS = "user:status:"
"""Prefix of a user's hash: whether it is online, and since when. Other programs read it, so its name is fixed."""


class FeedKeys(NamedTuple):
    """A feed's position, its log, the ids of its publications and the older half of them."""

    meta: str
    log: str
    ids: str
    old_ids: str


def feed(name: str) -> FeedKeys:
    """The keys of a feed."""
    tag = f"{PREFIX}{{{name}}}"
    return FeedKeys(f"{tag}:meta", f"{tag}:log", f"{tag}:ids", f"{tag}:ids:old")


def node_connections(node: str) -> str:
    """Hash: the connections of a gateway, with their users."""
    return f"{PREFIX}node:{node}"


def user_connections(user_id: int | str) -> str:
    """Sorted set: the connections of a user, by when they opened."""
    return f"{USER_CONNECTIONS}{user_id}"


def user_status(user_id: int | str) -> str:
    """Hash: whether a user is online, and since when."""
    return f"{USER_STATUS}{user_id}"


def limit(name: str, user_id: int) -> str:
    """Hash: the token bucket of one user for what the limit is named after."""
    return f"{PREFIX}limit:{name}:{user_id}"


def lease(topic: str) -> str:
    """The relay that holds a topic."""
    return f"{PREFIX}{{{topic}}}:lease"


def lease_token(topic: str) -> str:
    """The last fencing token of a topic."""
    return f"{PREFIX}{{{topic}}}:token"


def cursor(topic: str) -> str:
    """Hash: up to where a topic is relayed, with the token of who committed it."""
    return f"{PREFIX}{{{topic}}}:pos"


def relays(topic: str) -> str:
    """Sorted set: the relays that serve a topic, by until when their word holds."""
    return f"{PREFIX}{{{topic}}}:relays"


def dead_letters(topic: str) -> str:
    """Stream: the entries of a topic that can never succeed."""
    return f"{topic}.dlq"


def intents(topic: str) -> str:
    """Hash: entries that are meant to be added to a topic."""
    return f"{PREFIX}{{{topic}}}:intents"


def intents_due(topic: str) -> str:
    """Sorted set: the same, by when somebody else may look after them."""
    return f"{PREFIX}{{{topic}}}:intents:due"


def added(topic: str, intent_id: str) -> str:
    """The mark that an entry has been added to a topic."""
    return f"{PREFIX}{{{topic}}}:added:{intent_id}"
