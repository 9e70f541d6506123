"""Settings of a stack's processes with timers so short that a test can wait for them."""

from dataclasses import replace

from config.settings.test import *  # noqa: F403
from config.settings.test import REALTIME as REALTIME_OF_TESTS

REALTIME = replace(REALTIME_OF_TESTS, linger_seconds=1.0, check_seconds=1.0)
