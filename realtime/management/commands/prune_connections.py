"""`manage.py prune_connections`: delete old rows of the connection audit in chunks."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q
from django.utils import timezone

from realtime.models import ConnectionRecord

AT_ONCE = 5_000


class Command(BaseCommand):
    help = (
        "Delete connections from the audit that were closed more than --days days ago. Those that never authenticated "
        "are deleted after --unauthenticated-days days. Run it once a day."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=90, help="how many days are kept (default: 90)")
        parser.add_argument(
            "--unauthenticated-days", type=int, default=7,
            help="how many days connections that never authenticated are kept, at most --days (default: 7)",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="only print how many would be deleted")

    def handle(self, *args: Any, **options: Any) -> None:
        now, ages = timezone.now(), {}
        for name in ("days", "unauthenticated_days"):
            if options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')}: 1 or more")
            ages[name] = now - timedelta(days=options[name])
        is_old = Q(closed_at__lt=ages["days"]) | Q(closed_at__lt=ages["unauthenticated_days"], authenticated_at=None)
        old = ConnectionRecord.objects.filter(is_old, closed_at__lt=max(ages.values())).order_by("closed_at")
        if options["dry_run"]:
            self.stdout.write(f"{old.count()} connections would be removed")
            return
        removed, rest = 0, old
        # In chunks: a long lock would block the relay. Each begins where the last one ended: kept rows are read once.
        while some := list(rest.values_list("pk", "closed_at")[:AT_ONCE]):
            removed += ConnectionRecord.objects.filter(pk__in=[pk for pk, _ in some]).delete()[0]
            rest = old.filter(closed_at__gte=some[-1][1])
        self.stdout.write(f"removed {removed} connections")
