"""`python -m chatws.client`: a chat in the terminal."""

import argparse
import asyncio
import getpass
import logging
import os
import signal
import sys
from contextlib import suppress

from chatws.client.client import ChatClient
from chatws.client.connection import address
from chatws.client.demo import Http, HttpError, Login, names
from chatws.client.events import Closed
from chatws.client.terminal import HELP, Terminal, Unreachable, complain

EPILOG = f"""\
in the chat:
{HELP}

environment:
CHATWS_TOKEN       the token, so that the list of processes does not show it
CHATWS_PASSWORD    the password, instead of a prompt

The exit status is 0 after /quit, Ctrl-C or the end of the input, 1 after an error.
"""


def main() -> None:
    """Chat until the input ends or Ctrl-C."""
    parser = argparse.ArgumentParser(
        "python -m chatws.client", description="A chat in the terminal. Lines from a pipe are sent as messages, too.",
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--url", default="ws://localhost:8889/ws", help="the gateway's socket (%(default)s)")
    parser.add_argument("--user", metavar="NAME", help="log in with this name; needs the demo's login")
    parser.add_argument("--token", metavar="JWT", help="log in with this token")
    parser.add_argument("--group", metavar="ID", default="", help="the group to open at the start")
    given = parser.parse_args()
    token = given.token or ("" if given.user else os.environ.get("CHATWS_TOKEN", ""))
    if bool(token) == bool(given.user):
        parser.error("give --user or --token (or CHATWS_TOKEN)")
    try:
        url = address(given.url)
    except ValueError as error:
        parser.error(str(error))
    logging.getLogger("chatws.client").addHandler(logging.NullHandler())  # the terminal itself says what happens
    http = Http(url)
    try:
        asyncio.run(_chat(url, token or _login(http, given.user), http, given.group))
    except (HttpError, Unreachable) as error:
        sys.exit(f"chatws: {error}")
    except Closed as error:
        sys.exit(f"chatws: {url}: {error}")
    except (KeyboardInterrupt, EOFError):
        sys.exit(130)  # at the password prompt


def _login(http: Http, name: str) -> Login:
    password = os.environ.get("CHATWS_PASSWORD") or getpass.getpass(f"{name}'s password: ")
    return Login(http, name, password)


async def _chat(url: str, source: str | Login, http: Http, group: str) -> None:
    def groups(user_id: str) -> dict[str, str]:
        try:
            return names(http, user_id, source if isinstance(source, str) else source.access)
        except HttpError:  # without the HTTP API, ids are shown instead of names
            return {}

    client = ChatClient(url, source if isinstance(source, str) else source.bring)
    terminal = Terminal(client, groups, group)
    talking = asyncio.ensure_future(terminal.run(sys.stdin.fileno()))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, talking.cancel)
    with suppress(asyncio.CancelledError):
        await talking
    if terminal.unsent:
        complain(f"chatws: {terminal.unsent} of your messages were not acknowledged")


if __name__ == "__main__":
    main()
