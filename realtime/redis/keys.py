"""Build every key of the project in Redis.

The keys of one feed or one topic share a hash tag (braces), so that Redis Cluster stores them in one slot.
"""

from typing import NamedTuple

PREFIX = "chatws:"

AUDIT_STREAM = f"{PREFIX}audit"
NODES = f"{PREFIX}nodes"
"""Sorted set: the gateways, by the end of their lease (Unix seconds)."""
REAPER = f"{PREFIX}reaper"
"""Hash: written by the relays to find out whether Redis takes writes."""
ONLINE = f"{PREFIX}online"
"""Hash: the number of connections of each online user."""
TERMINATIONS = f"{PREFIX}terminations"
"""Stream: the connections that are to be closed, each with its close code."""
REVOKED = f"{PREFIX}revoked"
"""Hash: the users with revoked tokens; each value has the last revoked issue time and the end of the revocation."""
REVOKED_VERSION = f"{PREFIX}revoked:version"
REVOKED_NEWS = f"{PREFIX}revoked:news"
"""List: the last revocations that were added one by one, newest first, each with its version."""
TOPICS = f"{PREFIX}topics"
"""Set: the topics that are relayed."""
DEAD_LETTER_TOPICS = f"{PREFIX}dlq:topics"
"""Set: the topics that have dead letters."""


class FeedKeys(NamedTuple):
    """The keys of a feed: its position, its log, the ids of its publications and the older half of the ids."""

    meta: str
    log: str
    ids: str
    old_ids: str


def feed(name: str) -> FeedKeys:
    """Return the keys of a feed."""
    tag = f"{PREFIX}{{{name}}}"
    return FeedKeys(f"{tag}:meta", f"{tag}:log", f"{tag}:ids", f"{tag}:ids:old")


def node_connections(node: str) -> str:
    """Return the key of a hash: the connections of a gateway, with their users."""
    return f"{PREFIX}node:{node}"


def node_mark(node: str) -> str:
    """Return the key of a string: the mark of a gateway's last write of its presence, so that a loss shows."""
    return f"{PREFIX}node:{node}:mark"


def user_connections(user_id: int | str) -> str:
    """Return the key of a sorted set: the connections of a user, by when they opened."""
    return f"{PREFIX}user:{user_id}"


def user_status(user_id: int | str) -> str:
    """Return the key of a hash: whether a user is online, and since when. Other programs read it, so it is fixed."""
    return f"user:status:{user_id}"


def limit(name: str, user_id: int) -> str:
    """Return the key of a string: the token bucket of one user for the limit ``name``."""
    return f"{PREFIX}limit:{name}:{user_id}"


def login_limit(of: str) -> str:
    """Return the key of a string: the token bucket of failed logins, of an address or of a name and address."""
    return f"{PREFIX}limit:logins:{of}"


def lease(topic: str) -> str:
    """Return the key of a string: the relay that holds a topic."""
    return f"{PREFIX}{{{topic}}}:lease"


def lease_token(topic: str) -> str:
    """Return the key of a number: the last fencing token of a topic."""
    return f"{PREFIX}{{{topic}}}:token"


def cursor(topic: str) -> str:
    """Return the key of a hash: a topic's cursor, with the fencing token of the relay that committed it."""
    return f"{PREFIX}{{{topic}}}:pos"


def relays(topic: str) -> str:
    """Return the key of a sorted set: the relays that serve a topic, by the expiry of their announcement."""
    return f"{PREFIX}{{{topic}}}:relays"


def dead_letters(topic: str) -> str:
    """Return the key of a stream: the entries of a topic that can never succeed."""
    return f"{topic}.dlq"


def intents(topic: str) -> str:
    """Return the key of a hash: the entries that are meant to be added to a topic."""
    return f"{PREFIX}{{{topic}}}:intents"


def intents_due(topic: str) -> str:
    """Return the key of a sorted set: the same entries, by the end of their lease."""
    return f"{PREFIX}{{{topic}}}:intents:due"


def added(topic: str, intent_id: str) -> str:
    """Return the key of a string: it exists if an entry has been added to a topic."""
    return f"{PREFIX}{{{topic}}}:added:{intent_id}"
