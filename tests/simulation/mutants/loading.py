"""Load the project with one mutant: its text is replaced while its module is imported, for the whole process."""

import linecache
import sys
import types
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

from tests.simulation.mutants.mutant import Mutant


class AlreadyLoaded(Exception):
    """The module of a mutant was imported before the mutant was switched on."""


def switch_on(mutant: Mutant) -> None:
    """Load the mutant instead of the sound text from now on. Call it before anything of the project is imported.

    Raises:
        AlreadyLoaded: its module has been imported.
        NotApplicable: its old lines don't occur exactly once.
    """
    if mutant.module in sys.modules:
        raise AlreadyLoaded(f"{mutant.name}: {mutant.module} has been imported already")
    sys.meta_path.insert(0, _Finder(mutant, mutant.applied()))


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant, text: str) -> None:
        self._mutant = mutant
        self._text = text

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            if self._mutant.script:
                spec.loader = _ScriptsLoader(fullname, spec.origin, self._mutant.script, self._text)
            else:
                spec.loader = _TextLoader(fullname, spec.origin, self._text)
        return spec


class _TextLoader(SourceFileLoader):
    """Compiles another text than the file's. Tracebacks and `inspect.getsource` show that text."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> types.CodeType:
        linecache.cache[self.path] = len(self._text), None, self._text.splitlines(keepends=True), self.path
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _ScriptsLoader(SourceFileLoader):
    """Gives the module that reads Lua files another text for one of them."""

    def __init__(self, fullname: str, path: str, script: str, text: str) -> None:
        super().__init__(fullname, path)
        self._script = script
        self._text = text

    def exec_module(self, module: types.ModuleType) -> None:
        super().exec_module(module)
        sound = module._lua
        module._lua = lambda name: self._text if name == self._script else sound(name)  # type: ignore[attr-defined]
