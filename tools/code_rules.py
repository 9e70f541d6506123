"""`python -m tools.code_rules` checks two rules that Ruff has no rule for.

1. Only `realtime.aio.tasks` starts tasks, so that every failure is logged. The Python client is exempt: it has to work
   without `realtime`.
2. An ``except`` that catches every exception says why, in a comment on its line.
"""

import ast
import re
import sys
from collections.abc import Iterator

from config.env import BASE_DIR

STARTS = frozenset({"create_task", "ensure_future"})
TASKS = BASE_DIR / "realtime/aio/tasks.py"
CLIENT = BASE_DIR / "chatws/client"
BROAD = re.compile(r"^\s*except\b(?=.*\b(?:Exception|BaseException)\b|\s*:)[^#]*$")


def raw_tasks(text: str) -> Iterator[int]:
    """Return the lines of a module that start a task directly."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in STARTS:
                yield node.lineno


def unexplained_excepts(text: str) -> Iterator[int]:
    """Return the lines of a module that catch every exception without a reason."""
    return (number for number, line in enumerate(text.splitlines(), 1) if BROAD.match(line))


def main() -> None:
    """Print each line that breaks a rule; exit with 1 if there is one."""
    found: list[str] = []
    for package in ("realtime", "chatws"):
        for file in sorted((BASE_DIR / package).rglob("*.py")):
            text, name = file.read_text(), file.relative_to(BASE_DIR)
            if file != TASKS and not file.is_relative_to(CLIENT):
                problem = "start tasks with realtime.aio.tasks (supervise, spawn or start)"
                found += [f"{name}:{line}: {problem}" for line in raw_tasks(text)]
            problem = "catch a narrower exception, or give the reason in a comment on this line"
            found += [f"{name}:{line}: {problem}" for line in unexplained_excepts(text)]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
