"""Set back one process's clock for a fault: `time.time` minus as many seconds as a named file has bytes."""

import os
import time

_file = os.environ.get("FAULTS_CLOCK_FILE", "")
_real_time = time.time


def _time() -> float:
    try:
        return _real_time() - os.stat(_file).st_size
    except OSError:
        return _real_time()


if _file:
    time.time = _time
