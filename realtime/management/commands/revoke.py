"""`manage.py revoke`: revoke tokens, and close the connections that were opened with them."""

import getpass
import time
from argparse import ArgumentParser
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from realtime import conf
from realtime.auth.revocations import MAX_JTI, connected
from realtime.auth.tokens import MAX_USER_ID
from realtime.exceptions import RealtimeError
from realtime.redis.client import address_of


class Command(BaseCommand):
    help = (
        "Revoke tokens: gateways reject them and close the connections opened with them (4401). "
        "Tokens issued later stay valid."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--jti", help="the one token with this id")
        whose.add_argument("--user", type=int, metavar="ID", help="all tokens of this user")
        whose.add_argument("--everybody", action="store_true", help="all tokens of all users, e.g. after a leak")
        parser.add_argument(
            "--issued-until", type=int, metavar="SECONDS", help="only tokens issued up to this Unix time (default: now)"
        )
        parser.add_argument(
            "--expires-at", type=int, metavar="SECONDS", help="when the one token expires (its exp): until a day later "
            "its revocation is stored, otherwise for ever",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        user, jti, until = options["user"], options["jti"], options["issued_until"]
        expires_at = options["expires_at"]
        if user is not None and not 1 <= user <= MAX_USER_ID:
            raise CommandError(f"--user: {user} is not a user's id")
        if jti is not None and until is not None:
            raise CommandError("--issued-until: not allowed with --jti, because one token is revoked as a whole")
        if jti is not None and not 1 <= len(jti) <= MAX_JTI:
            raise CommandError(f"--jti: an id has 1 to {MAX_JTI} characters")
        if until is not None and not 0 < until <= time.time():
            raise CommandError(f"--issued-until: {until} is not a time in the past")
        if expires_at is not None and (jti is None or expires_at < 1):
            raise CommandError("--expires-at: a Unix time, and only with --jti")
        settings = conf.get()
        try:
            async_to_sync(self._revoke)(
                settings, user_id=user or 0, jti=jti or "", issued_until=until or 0, expires_at=expires_at or 0
            )
        except DatabaseError as error:
            raise CommandError(f"nothing was revoked: {error}") from None
        except RealtimeError as error:
            raise CommandError(
                "stored; the gateways read it from the database within seconds, but could not be notified: "
                f"Redis at {address_of(settings.redis_url)}: {error}"
            ) from None
        whose = f"the token {jti}" if jti else f"the tokens of user {user}" if user else "everybody's tokens"
        self.stdout.write(f"revoked {whose}")

    async def _revoke(self, settings: conf.RealtimeConf, **wanted: Any) -> None:
        async with connected(settings, get_channel_layer()) as revocations:
            await revocations.revoke(**wanted, by=getpass.getuser())
