"""`manage.py prune_connections`: delete old rows of the connection audit in chunks."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from realtime.models import ConnectionRecord

AT_ONCE = 5_000


class Command(BaseCommand):
    help = "Delete connections from the audit that were closed more than --days days ago. Run it once a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="how many days are kept (default: 90)")
        parser.add_argument("--dry-run", action="store_true", help="only print how many would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["days"] < 1:
            raise CommandError("--days: 1 or more")
        old = ConnectionRecord.objects.filter(closed_at__lt=timezone.now() - timedelta(days=options["days"]))
        if options["dry_run"]:
            self.stdout.write(f"{old.count()} connections would be removed")
            return
        removed = 0
        while some := list(old.values_list("pk", flat=True)[:AT_ONCE]):  # in chunks: a long lock would block the relay
            removed += ConnectionRecord.objects.filter(pk__in=some).delete()[0]
        self.stdout.write(f"removed {removed} connections")
