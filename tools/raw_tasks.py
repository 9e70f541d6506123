"""`python -m tools.raw_tasks` checks that only `realtime.aio.tasks` starts tasks, so that every failure is logged.

It skips the Python client, which must work without `realtime`.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from config.env import BASE_DIR

STARTS = frozenset({"create_task", "ensure_future"})
OURS = BASE_DIR / "realtime/aio/tasks.py"
CLIENT = BASE_DIR / "chatws/client"


def raw_tasks(file: Path) -> Iterator[int]:
    """Return the lines of a file that start a task directly."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in STARTS:
                yield node.lineno


def main() -> None:
    """Print each such line; exit with 1 if there is one."""
    found = [
        f"{file.relative_to(BASE_DIR)}:{line}: start tasks with realtime.aio.tasks (supervise, spawn or start)"
        for package in ("realtime", "chatws")
        for file in sorted((BASE_DIR / package).rglob("*.py"))
        if file != OURS and not file.is_relative_to(CLIENT)
        for line in raw_tasks(file)
    ]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
