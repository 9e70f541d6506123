"""Names of feeds, and of the Channels group that carries a feed's publications.

Channels allows no colon in a group name, so feed `group:g1` uses group `feed.group.g1`.
"""

CONTROL_GROUP = "gateways"


def user_feed(user_id: int) -> str:
    """Return the name of a user's feed, e.g. ``user:42``."""
    return f"user:{user_id}"


def group_feed(group_id: str) -> str:
    """Return the name of a chat group's feed, e.g. ``group:g1``."""
    return f"group:{group_id}"


def channels_group(feed: str) -> str:
    """Return the Channels group of a feed (ASCII letters, digits and ``-_.``, under 100 characters)."""
    return "feed." + feed.replace(":", ".", 1)
