"""`manage.py seed_demo`: create the demo's users, chat groups and messages once."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from chatws.reference import services
from chatws.reference.cursors import mark_read
from chatws.reference.models import ChatGroup, Message, OutboxEvent
from chatws.reference.services import NewMessage

PASSWORD = "demo"  # noqa: S105  # the demo's, printed by `make run`
PEOPLE = {"alice": "Alice", "bob": "Bob", "carol": "Carol", "admin": "Admin"}
GROUPS = {
    "Lunch": ("alice", ["bob"]),
    "Hiking on Saturday": ("bob", ["alice", "carol"]),
    "Board games": ("carol", ["alice"]),
}
MESSAGES = {
    "Lunch": [("alice", "Noodles or soup today?"), ("bob", "Noodles. 12:15 at the door?"), ("alice", "See you there.")],
    "Hiking on Saturday": [("bob", "The forecast says sun."), ("carol", "Then I bring the cake.")],
    "Board games": [("carol", "Next round is on Thursday."), ("alice", "I am in.")],
}


class Command(BaseCommand):
    help = (
        "Create the demo's users (password: demo), chat groups and messages. Do nothing if the database has users or "
        "chat groups; fail under production settings."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--migrate", action="store_true", help="apply the migrations first")

    def handle(self, *args: Any, migrate: bool = False, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError("the demo's administrator has a known password: not under production settings")
        if migrate:
            call_command("migrate", verbosity=0)
        self._seed()

    @transaction.atomic
    def _seed(self) -> None:
        users = get_user_model().objects
        if users.exists() or ChatGroup.objects.exists():
            return
        ids: dict[str, int] = {}
        password = make_password(PASSWORD)  # the same hash for all users, because hashing takes most of a second
        for username, first_name in PEOPLE.items():
            rights = {"is_staff": True, "is_superuser": True} if username == "admin" else {}
            ids[username] = users.create(username=username, password=password, first_name=first_name, **rights).pk
        for name, (owner, others) in GROUPS.items():
            group_id = services.create_group(0, name, ids[owner], 0, "")
            for other in others:
                services.add_member(group_id, ids[other], 0)
            services.save_messages(
                [
                    NewMessage(f"demo-{group_id}-{number}", group_id, ids[sender], Message.TEXT, text)
                    for number, (sender, text) in enumerate(MESSAGES[name])
                ]
            )
            for member in (owner, *others):
                mark_read(ids[member], group_id, f"demo-{group_id}-{len(MESSAGES[name]) - 1}")
        OutboxEvent.objects.all().delete()  # nobody is online to receive the events
        self.stdout.write("demo: users alice, bob, carol and admin, password demo")
