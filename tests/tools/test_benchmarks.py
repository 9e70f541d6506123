"""Check that the benchmarks' gateway starts: production refuses what it takes for a mistake."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.servers import production
from config.env import BASE_DIR


def test_production_accepts_the_settings_of_the_benchmarks(tmp_path: Path) -> None:
    bench: Any = SimpleNamespace(folder=tmp_path, redis_url="redis://127.0.0.1:6379/0")
    env = {**os.environ, **production(bench, "127.0.0.1:9003")}
    done = subprocess.run([sys.executable, "manage.py", "check"], cwd=BASE_DIR, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
