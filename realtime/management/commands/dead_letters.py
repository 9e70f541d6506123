"""`manage.py dead_letters`: list, show, replay and drop dead letters."""

import asyncio
import getpass
import logging
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from realtime import conf
from realtime.exceptions import RealtimeError
from realtime.redis.client import address_of, connect
from realtime.relay.dead_letters import DeadLetter, DeadLetters

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "List, show, replay or drop dead letters: entries that can never succeed. "
        "To replay one appends it to its topic again, e.g. after an upgrade that can read it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="{list,show,replay,drop}")
        listing = commands.add_parser("list", help="list dead letters, newest first, one per line")
        listing.add_argument("topic", nargs="?", help="only of this topic")
        listing.add_argument("--limit", type=int, default=20, help="most dead letters per topic (default: 20)")
        showing = commands.add_parser("show", help="show one dead letter completely")
        showing.add_argument("topic")
        showing.add_argument("id")
        for name, what in (
            ("replay", "append dead letters to their topic again"),
            ("drop", "delete dead letters for good"),
        ):
            acting = commands.add_parser(name, help=what)
            acting.add_argument("topic")
            acting.add_argument("id", nargs="*")
            acting.add_argument("--all", action="store_true", help="all dead letters of the topic")

    def handle(self, *args: Any, **options: Any) -> None:
        url = conf.get().redis_url
        try:
            asyncio.run(self._run(url, options))
        except RealtimeError as error:
            raise CommandError(f"Redis at {address_of(url)}: {error}") from None

    async def _run(self, url: str, options: dict[str, Any]) -> None:
        async with connect(url) as redis:
            letters = DeadLetters(redis)
            match options["command"]:
                case "list":
                    await self._list(letters, options["topic"], options["limit"])
                case "show":
                    self._show(await self._get(letters, options["topic"], options["id"]))
                case command:
                    await self._act(letters, command, options["topic"], options["id"], options["all"])

    async def _list(self, letters: DeadLetters, only: str | None, limit: int) -> None:
        for topic in [only] if only else await letters.topics():
            shown = await letters.latest(topic, limit)
            for letter in shown:
                when = f"{letter.time:%Y-%m-%d %H:%M:%S}" if letter.time else "-"
                tries = f"  replayed {letter.replays} x" if letter.replays else ""
                self.stdout.write(f"{topic} {letter.id}  {when}  {letter.reason}{tries}")
            more = await letters.count(topic) - len(shown)
            if more > 0:
                self.stdout.write(f"{topic}: {more} older (--limit)")

    def _show(self, letter: DeadLetter) -> None:
        for name, value in (
            ("topic", letter.topic), ("id", letter.id), ("entry", letter.entry_id), ("time", letter.time or "-"),
            ("reason", letter.reason), ("replays", letter.replays),
        ):  # fmt: skip
            self.stdout.write(f"{name}: {value}")
        for name, value in sorted(letter.metadata.items()):
            if not name.startswith("dlq_"):
                self.stdout.write(f"metadata {name}: {value}")
        self.stdout.write(f"payload: {letter.payload}")

    async def _act(self, letters: DeadLetters, command: str, topic: str, ids: list[str], everything: bool) -> None:
        if everything == bool(ids):
            raise CommandError(f"{command}: give the ids of dead letters of {topic}, or --all")
        if everything:
            chosen = [letter async for letter in letters.all(topic)]
        else:
            chosen = [await self._get(letters, topic, letter_id) for letter_id in ids]
        for letter in chosen:
            if command == "replay":
                entry_id = await letters.replay(letter)
                done = f"replayed to {topic} as {entry_id}" if entry_id else ""
            else:
                done = "dropped" if await letters.drop(letter) else ""
            if done:
                logger.warning("dead letter %s of %s: %s by %s", letter.id, topic, command, getpass.getuser())
            self.stdout.write(f"{topic} {letter.id} {done or 'no longer exists'}")

    async def _get(self, letters: DeadLetters, topic: str, letter_id: str) -> DeadLetter:
        letter = await letters.get(topic, letter_id)
        if letter is None:
            raise CommandError(f"{topic} has no dead letter {letter_id}")
        return letter
