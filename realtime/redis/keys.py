"""Build every key of the project in Redis.

The keys of one feed or one topic share a hash tag (braces), so that Redis Cluster stores them in one slot.
"""

from functools import cache
from typing import NamedTuple

from realtime import conf


@cache
def prefix() -> str:
    """Return what every key and channel of this deployment begins with (``CHATWS_PREFIX`` and a colon).

    It is read once: a relay makes four keys for each feed of a batch.
    Only the topics, their dead letters and the status of users have fixed names: other programs use them.
    """
    return f"{conf.get().prefix}:"


def audit_stream() -> str:
    """Return the key of a stream: the events of connections for the audit."""
    return f"{prefix()}audit"


def nodes() -> str:
    """Return the key of a sorted set: the gateways, by the end of their lease (Unix seconds)."""
    return f"{prefix()}nodes"


def reaper() -> str:
    """Return the key of a hash: written by the relays to find out whether Redis takes writes."""
    return f"{prefix()}reaper"


def online() -> str:
    """Return the key of a hash: the number of connections of each online user."""
    return f"{prefix()}online"


def terminations() -> str:
    """Return the key of a stream: the connections that are to be closed, each with its close code."""
    return f"{prefix()}terminations"


def revoked() -> str:
    """Return the key of a hash: the users with revoked tokens.

    Each value has the last revoked issue time and the end of the revocation.
    """
    return f"{prefix()}revoked"


def revoked_version() -> str:
    """Return the key of a number: it grows with each change of the revocations."""
    return f"{prefix()}revoked:version"


def revoked_news() -> str:
    """Return the key of a list: the last revocations that were added one by one, newest first, with their versions."""
    return f"{prefix()}revoked:news"


def replicated() -> str:
    """Return the key of a string: written to find out what replicas have."""
    return f"{prefix()}replicated"


def topics() -> str:
    """Return the key of a set: the topics that are relayed."""
    return f"{prefix()}topics"


def dead_letter_topics() -> str:
    """Return the key of a set: the topics that have dead letters."""
    return f"{prefix()}dlq:topics"


class FeedKeys(NamedTuple):
    """The keys of a feed: its position, its log, the ids of its publications and the older half of the ids."""

    meta: str
    log: str
    ids: str
    old_ids: str


def feed(name: str) -> FeedKeys:
    """Return the keys of a feed."""
    tag = f"{prefix()}{{{name}}}"
    return FeedKeys(f"{tag}:meta", f"{tag}:log", f"{tag}:ids", f"{tag}:ids:old")


def node_connections(node: str) -> str:
    """Return the key of a hash: the connections of a gateway, with their users."""
    return f"{prefix()}node:{node}"


def node_mark(node: str) -> str:
    """Return the key of a string: the mark of a gateway's last write of its presence, so that a loss shows."""
    return f"{prefix()}node:{node}:mark"


def user_connections(user_id: int | str) -> str:
    """Return the key of a sorted set: the connections of a user, by when they opened."""
    return f"{prefix()}user:{user_id}"


def user_status(user_id: int | str) -> str:
    """Return the key of a hash: whether a user is online, and since when. Other programs read it, so it is fixed."""
    return f"user:status:{user_id}"


def limit(name: str, user_id: int) -> str:
    """Return the key of a string: the token bucket of one user for the limit ``name``."""
    return f"{prefix()}limit:{name}:{user_id}"


def login_limit(of: str) -> str:
    """Return the key of a string: the token bucket of failed logins, of an address or of a name and address."""
    return f"{prefix()}limit:logins:{of}"


def lease(topic: str) -> str:
    """Return the key of a string: the relay that holds a topic."""
    return f"{prefix()}{{{topic}}}:lease"


def lease_token(topic: str) -> str:
    """Return the key of a number: the last fencing token of a topic."""
    return f"{prefix()}{{{topic}}}:token"


def cursor(topic: str) -> str:
    """Return the key of a hash: a topic's cursor, with the fencing token of the relay that committed it."""
    return f"{prefix()}{{{topic}}}:pos"


def relays(topic: str) -> str:
    """Return the key of a sorted set: the relays that serve a topic, by the expiry of their announcement."""
    return f"{prefix()}{{{topic}}}:relays"


def dead_letters(topic: str) -> str:
    """Return the key of a stream: the entries of a topic that can never succeed."""
    return f"{topic}.dlq"


def intents(topic: str) -> str:
    """Return the key of a hash: the entries that are meant to be added to a topic."""
    return f"{prefix()}{{{topic}}}:intents"


def intents_due(topic: str) -> str:
    """Return the key of a sorted set: the same entries, by the end of their lease."""
    return f"{prefix()}{{{topic}}}:intents:due"


def added(topic: str, intent_id: str) -> str:
    """Return the key of a string: it exists if an entry has been added to a topic."""
    return f"{prefix()}{{{topic}}}:added:{intent_id}"
