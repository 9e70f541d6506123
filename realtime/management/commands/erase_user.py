"""`manage.py erase_user`: remove one user from the connection audit and from presence."""

from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management.base import BaseCommand, CommandError

from realtime import conf
from realtime.auth.tokens import MAX_USER_ID
from realtime.exceptions import RealtimeError
from realtime.models import ConnectionRecord
from realtime.presence.presence import Presence
from realtime.redis import keys
from realtime.redis.client import address_of, connect
from realtime.relay.topic import Topic


class Command(BaseCommand):
    help = (
        "Remove a user from the connection audit (addresses and user agents included) and from presence. "
        "The chat service keeps its messages, and revoked tokens stay revoked. Open connections are not closed: "
        "revoke the user's tokens first."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", type=int, metavar="ID", help="the user's id")

    def handle(self, *args: Any, **options: Any) -> None:
        user = options["user"]
        if not 1 <= user <= MAX_USER_ID:
            raise CommandError(f"{user} is not a user's id")
        settings = conf.get()
        removed = ConnectionRecord.objects.filter(user_id=user).delete()[0]
        try:
            waiting = async_to_sync(_forget)(user, settings)
        except RealtimeError as error:
            where = address_of(settings.redis_url)
            raise CommandError(
                f"removed {removed} connections, but not the presence; Redis at {where}: {error}"
            ) from None
        self.stdout.write(f"removed {removed} connections and the presence of user {user}")
        if waiting:
            self.stderr.write(
                f"{waiting} audit events wait for the relay and may concern this user; run this again when it is done"
            )


async def _forget(user_id: int, settings: conf.RealtimeConf) -> int:
    """Remove the user's presence; return how many audit events are not in the database yet."""
    async with connect(settings.redis_url) as redis:
        await Presence(redis, "", settings).forget(user_id)
        lag = await Topic(redis, keys.audit_stream(), settings).lag()
        return int(await redis.xlen(keys.audit_stream())) if lag is None else lag
