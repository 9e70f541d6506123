"""Names of feeds, and the Channels group that carries a feed's publications.

A Channels group name takes no colon, so `group:g1` travels in group `feed.group.g1`.
"""

CONTROL_GROUP = "gateways"


def user_feed(user_id: int) -> str:
    """The feed of one user, e.g. ``user:42``."""
    return f"user:{user_id}"


def group_feed(group_id: str) -> str:
    """The feed of one chat group, e.g. ``group:g1``."""
    return f"group:{group_id}"


def channels_group(feed: str) -> str:
    """The Channels group (ASCII letters, digits, ``-_.``, under 100 characters) of a feed."""
    return "feed." + feed.replace(":", ".", 1)
