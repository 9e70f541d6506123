"""`python -m tools.raw_tasks`: is each task started by `realtime.aio.tasks`, so that no failure goes unseen?

The Python client is left out: it is used apart from `realtime`.
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
    """The lines of a file that start a task by themselves."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in STARTS:
                yield node.lineno


def main() -> None:
    """Name each place; fail if there is one."""
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
