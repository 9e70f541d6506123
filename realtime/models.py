"""The database tables of `realtime`: the connection audit, the relay's cursors and revoked tokens.

The relay writes the audit, one row per socket, from the gateways' events (`realtime.audit.recorder`).
"""

from django.db import models

from realtime.close_codes import meaning_of
from realtime.fields import UserIdField


class ConnectionRecord(models.Model):
    """A WebSocket connection, open or closed. Its counters are set when it closes; `in` is from the client."""

    LATER = (
        "opened_at", "address", "user_agent", "user_id", "way", "authenticated_at", "closed_at", "close_code",
        "frames_in", "frames_out", "bytes_in", "bytes_out",
    )  # fmt: skip
    """The fields that a later event may set."""

    connection_id = models.CharField(max_length=32, unique=True)
    node = models.CharField(max_length=128)
    user_id = UserIdField("user", null=True, blank=True, db_index=True)
    address = models.CharField(max_length=64, blank=True, db_index=True)
    user_agent = models.CharField(max_length=512, blank=True)
    way = models.CharField("authenticated by", max_length=16, blank=True)
    opened_at = models.DateTimeField("opened")
    authenticated_at = models.DateTimeField("authenticated", null=True, blank=True)
    closed_at = models.DateTimeField("closed", null=True, blank=True)
    close_code = models.IntegerField(null=True, blank=True)
    frames_in = models.PositiveBigIntegerField(default=0)
    frames_out = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = "connection"
        permissions = [("end_connection", "Can end connections")]
        indexes = [
            # One for each filter of the admin, in the order of its list: a page never sorts or reads the whole table.
            models.Index(fields=["-opened_at", "-id"], name="connection_opened"),
            models.Index(fields=["node", "-opened_at", "-id"], name="connection_node"),
            models.Index(fields=["close_code", "-opened_at", "-id"], name="connection_close_code"),
            models.Index(fields=["closed_at", "close_code"], name="connection_closed"),
            models.Index(fields=["-opened_at", "-id"], name="connection_open", condition=models.Q(closed_at=None)),
            models.Index(
                fields=["node", "-opened_at", "-id"], name="connection_open_node", condition=models.Q(closed_at=None)
            ),
        ]

    def __str__(self) -> str:
        return self.connection_id

    @property
    def close_meaning(self) -> str:
        """The meaning of the close code; empty while the connection is open."""
        return "" if self.close_code is None else meaning_of(self.close_code)


class RelayCursor(models.Model):
    """A topic's cursor, copied from Redis every few seconds: the relay continues here if Redis lost it."""

    topic = models.CharField(max_length=200, primary_key=True)
    entry_id = models.CharField(max_length=41)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.topic} {self.entry_id}"


class Revocation(models.Model):
    """Revoked tokens (`realtime.auth.revocations`): one by its id, or all issued up to a time."""

    whose = models.CharField(max_length=300, primary_key=True)
    """``jti:<id>``, ``user:<id>`` or ``all``."""
    issued_until = models.BigIntegerField()
    """Unix seconds."""
    kept_until = models.BigIntegerField(db_index=True)
    revoked_at = models.DateTimeField("revoked", auto_now=True)
    revoked_by = models.CharField(max_length=150, blank=True)

    class Meta:
        default_permissions = ("view", "add")  # a revocation is neither changed nor taken back

    def __str__(self) -> str:
        return self.whose


class RevocationNumber(models.Model):
    """One row: the number of the last revocation (`realtime.auth.revocation_rows`)."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    number = models.BigIntegerField()

    class Meta:
        default_permissions = ()


class DeadLetterEntry(models.Model):
    """A model without a table: the admin's page of dead letters (`realtime.relay.dead_letters`) and its permissions."""

    class Meta:
        managed = False
        verbose_name = "dead letter"
        default_permissions = ("view", "change", "delete")
