"""`python -m tools.settings_table` writes the README's table of settings from `config/env.py`; `--check` compares."""

import argparse
import ast
import re
import sys

from config.env import BASE_DIR

README = BASE_DIR / "README.md"
TABLE = re.compile(r"(?<=\| variable \| default \| meaning \|\n\| --- \| --- \| --- \|\n)(?:\|.*\n)+")


def rows() -> list[str]:
    """Return a row of the table for each variable, in the order of declaration."""
    tree = ast.parse((BASE_DIR / "config/env.py").read_text())
    [environment] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Environment"]
    found = []
    for field, after in zip(environment.body, environment.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None:
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                sys.exit(f"config/env.py: {field.target.id} has no text for the README")
            default, meaning = shown(ast.literal_eval(field.value)), " ".join(str(after.value.value).split())
            found.append(f"| `{field.target.id.upper()}` | {default}| {meaning} |\n")
    return found


def shown(default: object) -> str:
    """Return a default as the environment writes it; empty if it is unset."""
    if default is None or default == "":
        return ""
    if isinstance(default, bool | float):
        default = f"{default:g}" if isinstance(default, float) else int(default)
    return f"`{default}` "


def main() -> None:
    """Write the table, or check it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.settings_table", description="The README's table of settings."
    )
    parser.add_argument("--check", action="store_true", help="only say whether the table is current; fail if not")
    given = parser.parse_args()
    before = README.read_text()
    after = TABLE.sub(lambda _: "".join(rows()), before, count=1)
    if given.check and after != before:
        sys.exit("README.md: the table of settings isn't what config/env.py says; run `make docs`")
    if not given.check:
        README.write_text(after)


if __name__ == "__main__":
    main()
