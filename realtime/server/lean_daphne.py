"""Import daphne, and of autobahn only what daphne uses.

Each module that imports daphne, autobahn or Twisted imports this one first: daphne installs the asyncio reactor, which
has to happen before anything else imports a reactor of Twisted.
"""

from realtime.server import lean_autobahn  # noqa: F401  # isort: skip

import daphne.server  # noqa: F401
