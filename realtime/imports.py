"""Import a library without the optional parts of it that this project doesn't use.

Some libraries import another one where it is installed, for an ability that is off here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let an import of one of these modules raise ImportError, as if it weren't installed; afterwards it works again.

    A module that is imported already stays as it is. For imports of a library that catches the error.
    """
    hidden = [name for name in names if name not in sys.modules]
    missing: dict[str, None] = dict.fromkeys(hidden)
    sys.modules.update(missing)  # type: ignore[arg-type]  # None there means "can't be imported" (importlib's reference)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
