"""Import a library without optional dependencies that this project does not use.

Some libraries import another one if it is installed, for a feature that is off here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Make imports of these modules raise ImportError inside the context, as if they were not installed.

    A module that is already imported is not hidden. The imported library has to catch the error.
    """
    hidden = [name for name in names if name not in sys.modules]
    missing: dict[str, None] = dict.fromkeys(hidden)
    sys.modules.update(missing)  # type: ignore[arg-type]  # None there means "can't be imported" (importlib's reference)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
