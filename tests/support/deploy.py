"""What the tests of `deploy/` share: its folder, the variables and commands that exist."""

import os
import shutil

from config.env import BASE_DIR, Environment

DEPLOY = BASE_DIR / "deploy"
VARIABLES = {
    *Environment.__struct_encode_fields__,
    "DJANGO_SETTINGS_MODULE",
    "PGPASSWORD",
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "POSTGRES_DB",
}
COMMANDS = {
    path.stem for folder in ("realtime", "chatws", "chatws/reference")
    for path in (BASE_DIR / folder / "management/commands").glob("[a-z]*.py")
} | {"migrate", "collectstatic"}  # fmt: skip


def check_command(command: list[str]) -> None:
    """Check that a command of a container or unit exists."""
    assert command[0].endswith("python")
    if command[1] == "manage.py":
        assert command[2] in COMMANDS, command
    elif command[1] == "-m":
        assert command[2] == "realtime.server"
        assert command[-1] == "config.asgi:application"


def missing(program: str) -> bool:
    """Return whether a program is missing; fail in CI, which must have it."""
    is_missing = shutil.which(program) is None
    assert not (is_missing and os.environ.get("CI")), f"CI has no {program}"
    return is_missing
