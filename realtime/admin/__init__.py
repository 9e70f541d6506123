"""Django's admin: connections and who may end them, dead letters, revocations, the cluster at a glance."""

from realtime.admin import connections, dead_letters, history, revocations

__all__ = ["connections", "dead_letters", "history", "revocations"]
