"""A bug that was mended, and how to bring it back in a running process: by the text that mended it.

The text is replaced in memory only. Call `Bug.bring_back` in a child of its own: it can't be undone.
"""

import ast
import hashlib
import sys
import textwrap
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.redis import scripts
from realtime.redis.scripts import Script

ROOT = Path(__file__).parents[3]


class NotBroughtBack(Exception):
    """A text to replace is missing from its file, is there more than once, or is used by no function or constant."""


@dataclass(frozen=True, slots=True)
class Change:
    """In the file ``path`` (from the project's root), the lines ``old`` become ``new``."""

    path: str
    old: tuple[str, ...]
    new: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return a file's text with the change; raise `NotBroughtBack` if the lines do not occur exactly once.

        The lines are indented in the file as they are here, or all of them by as much more.
        """
        lines, count = text.split("\n"), len(self.old)
        found = [
            (start, indent)
            for start in range(len(lines) - count + 1)
            if (indent := _indent(lines[start : start + count], self.old)) is not None
        ]
        if len(found) != 1:
            raise NotBroughtBack(f"{self.path}: these lines occur {len(found)} times, not once: {self.old}")
        [(start, indent)] = found
        lines[start : start + count] = [indent + line if line else line for line in self.new]
        return "\n".join(lines)


def _indent(lines: Sequence[str], pattern: Sequence[str]) -> str | None:
    """Return by what the lines are indented more than the pattern; None if they differ otherwise."""
    indent = lines[0].removesuffix(pattern[0]) if lines[0].endswith(pattern[0]) else "no"
    if indent.strip() or any(
        line != (indent + wanted if wanted else "") for line, wanted in zip(lines, pattern, strict=True)
    ):
        return None
    return indent


def changes_of(diff: str) -> Iterator[Change]:
    """Yield the changes of a text: a path, then lines that begin with ``-``, ``+`` or a space, as in a diff."""
    path, old, new = "", list[str](), list[str]()
    for line in [*textwrap.dedent(diff).strip("\n").split("\n"), "the end"]:
        sign, content = line[:1], line[2:]
        if sign not in ("-", "+", " ", ""):
            if path:
                yield Change(path, tuple(old), tuple(new))
            path, old, new = line, [], []
            continue
        if sign != "+":
            old.append(content)
        if sign != "-":
            new.append(content)


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug. ``mended``: the commit, decision or document that names it. ``diff`` brings it back; see `changes_of`."""

    name: str
    mended: str
    diff: str

    def texts(self) -> dict[str, str]:
        """Return the text of each changed file with the bug."""
        texts: dict[str, str] = {}
        for change in changes_of(self.diff):
            text = texts.get(change.path) or (ROOT / change.path).read_text()
            texts[change.path] = change.apply(text)
        return texts

    def bring_back(self) -> None:
        """Run with the bug from now on, in this process."""
        for path, text in self.texts().items():
            if path.endswith(".lua"):
                _replace_script(Path(path).stem, text)
            else:
                _replace_module(path, text)


def _replace_script(name: str, text: str) -> None:
    """Give the text to every script that is this file or includes it."""
    sound = scripts._lua
    known = [one for module in list(sys.modules.values()) for one in vars(module).values() if isinstance(one, Script)]
    names = {Script(path.stem)._source: path.stem for path in (ROOT / "realtime/redis/lua").glob("*.lua")}
    by_name = [(script, names[script._source]) for script in known]
    vars(scripts)["_lua"] = lambda one: text if one == name else sound(one)
    for script, its_name in by_name:
        script._source = scripts.INCLUDE.sub(lambda match: scripts._lua(match[1]), scripts._lua(its_name))
        script._digest = hashlib.sha1(script._source.encode(), usedforsecurity=False).hexdigest()


def _replace_module(path: str, text: str) -> None:
    """Give a loaded module the functions and constants of the text."""
    module = sys.modules[path.removesuffix(".py").replace("/", ".")]
    sound = (ROOT / path).read_text()
    replaced = _replace_functions(module, compile(text, path, "exec")) | _replace_constants(module, sound, text)
    if not replaced:
        raise NotBroughtBack(f"{path}: no function or constant of it has changed")


def _replace_functions(module: types.ModuleType, code: types.CodeType) -> bool:
    by_name = {one.co_qualname: one for one in _codes(code)}
    has_changed = False
    for function in _functions(module, module.__name__):
        new = by_name.get(function.__code__.co_qualname)
        if new is None or new.co_freevars != function.__code__.co_freevars:
            continue
        has_changed |= _without_lines(new) != _without_lines(function.__code__)
        function.__code__ = new
    return has_changed


def _without_lines(code: types.CodeType) -> tuple[Any, ...]:
    inner = tuple(_without_lines(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.co_code, repr(inner), code.co_names, code.co_varnames


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _functions(holder: Any, module: str) -> Iterator[types.FunctionType]:
    """Yield the functions of a module or class, also those behind a decorator, a property or a static method."""
    for value in list(vars(holder).values()):
        if isinstance(value, type) and value.__module__ == module:
            yield from _functions(value, module)
        for one in (value, getattr(value, "fget", None), getattr(value, "__func__", None)):
            while one is not None:
                if isinstance(one, types.FunctionType) and one.__module__ == module:
                    yield one
                one = getattr(one, "__wrapped__", None)


def _replace_constants(module: types.ModuleType, sound: str, text: str) -> bool:
    """Evaluate the assignments of the module that differ."""
    before = {ast.dump(one) for one in ast.parse(sound).body}
    has_changed = False
    for one in ast.parse(text).body:
        if isinstance(one, ast.Assign | ast.AnnAssign) and ast.dump(one) not in before:
            exec(compile(ast.Module([one], []), module.__file__ or "", "exec"), vars(module))
            has_changed = True
    return has_changed
