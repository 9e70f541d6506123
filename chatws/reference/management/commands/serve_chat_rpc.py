"""`manage.py serve_chat_rpc`: run the reference chat service of `chatws.reference.server`."""

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from chatws.reference.server import serve
from realtime import conf
from realtime.exceptions import ListenError, RedisUnavailable
from realtime.observability import probes, tracing


class Command(BaseCommand):
    help = "Serve the reference chat service over gRPC and publish its events. SIGTERM and Ctrl-C end it cleanly."
    requires_system_checks = ()  # they import every page; run `manage.py check` instead

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument(
            "--port", type=int, default=settings.ENV.chatws_rpc_port, help="port (default: CHATWS_RPC_PORT, 9003)"
        )
        probes.add_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        address = f"{options['host']}:{options['port']}"
        try:
            tracing.configure("chatws-rpc", on=conf.get().tracing)
            asyncio.run(serve(address, options["probes"], conf.get()))
        except (ImproperlyConfigured, RedisUnavailable, ListenError) as error:
            raise CommandError(str(error)) from None
        except RuntimeError as error:
            raise CommandError(f"can't listen on {address} (CHATWS_RPC_PORT): {error}") from None
