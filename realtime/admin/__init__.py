"""Django's admin: connections, dead letters, revocations and an overview of the cluster."""

from realtime.admin import connections, dead_letters, history, revocations

__all__ = ["connections", "dead_letters", "history", "revocations"]
