"""Import daphne, with only the part of autobahn that daphne uses.

Every module that imports daphne, autobahn or Twisted imports this one first. daphne installs the asyncio reactor, and
that has to happen before another module imports a Twisted reactor.
"""

from realtime.server import lean_autobahn  # noqa: F401  # isort: skip

import daphne.server  # noqa: F401
