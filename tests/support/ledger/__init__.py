"""The ledger: record what was acked and what each reader received, and judge it by the promises.

It uses neither the client module nor the server, no process and no clock of its own. So the runs with real processes
(`tests/faults`) and those on a virtual clock judge with the same code.
"""

from tests.support.ledger.causes import CALM_SECONDS, Cause, Causes, Kind
from tests.support.ledger.ledger import Ledger
from tests.support.ledger.reader import Notice, Place, Reader

__all__ = ["CALM_SECONDS", "Cause", "Causes", "Kind", "Ledger", "Notice", "Place", "Reader"]
