"""`python -m tests.simulation.scripted`: tell every history as the code is and with each bug; print what found what."""

import argparse
import importlib
import os
import pkgutil
import sys
import time
from functools import partial
from typing import Any

from tests.simulation import scripted
from tests.simulation.__main__ import ENVIRONMENT
from tests.simulation.scripted.history import History, serve


def histories(pattern: str) -> list[History]:
    """Return the histories whose name has this text, by their module."""
    from tests.simulation import run

    run.prepare()
    names = [name for _, name, _ in pkgutil.iter_modules(scripted.__path__) if name.startswith("test_")]
    modules = [importlib.import_module(f"{scripted.__name__}.{name}") for name in names]
    found = [one.history for module in modules for one in vars(module).values() if hasattr(one, "history")]
    return [told for told in found if pattern in told.name]


def table() -> str:
    """Return each bug and the history that finds it, in Markdown."""
    lines = ["| bug | mended | history |", "| --- | --- | --- |"]
    for told in histories(""):
        module, _, name = told.name.rpartition(".")[2].partition(":")
        lines += [f"| {bug.name} | {bug.mended} | `{module}.py`: {name.removeprefix('test_')} |" for bug in told.bugs]
    return "\n".join(lines)


def main(pattern: str, *, shows: bool, **options: Any) -> int:
    """Run the histories with these options (`History.run`); return 1 if one fails as the code is, or not with a bug."""
    from tests.simulation.forking import ChildFailed, in_child

    failed = 0
    for told in histories(pattern):
        for bug in (None, *told.bugs):
            began = time.monotonic()
            try:
                found, lines = in_child(partial(told.run, bug, **options))
                is_good = bool(found) is (bug is not None)
            except ChildFailed as error:
                found, lines, is_good = [str(error)], [], False
            failed += not is_good
            what = f"without the mending of: {bug.name} ({bug.mended})" if bug else told.name
            sys.stdout.write(f"{'  ' if is_good else '! '}{time.monotonic() - began:5.2f} s {what}\n")
            if shows or not is_good:
                sys.stdout.write(
                    "".join(f"        {line}\n" for line in [*found[:8], *(lines[-40:] if not is_good else ())])
                )
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, "-m", scripted.__name__, *sys.argv[1:]], os.environ | ENVIRONMENT)
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.scripted", description=__doc__)
    parser.add_argument("pattern", nargs="?", default="", help="tell the histories with this text in their name")
    parser.add_argument("--show", action="store_true", help="show what is broken with each bug")
    parser.add_argument("--seed", type=int, default=1, help="draw latencies and other chances from it (default: 1)")
    parser.add_argument(
        "--shuffled", action="store_true", help="run ready callbacks of different tasks in a drawn order"
    )
    parser.add_argument("--table", action="store_true", help="print each bug and its history, and run nothing")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    elif given.table:
        sys.stdout.write(f"{table()}\n")
    else:
        sys.exit(main(given.pattern, shows=given.show, seed=given.seed, shuffled=given.shuffled))
