"""Check that a process forked by the zygote equals one started by `python` with the same environment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import BASE_DIR
from tests.support.zygote import zygote

ENV = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings.test"}


def output(folder: Path, code: str, **env: str) -> tuple[int, str]:
    """Run code in a forked process; return its exit status and output."""
    log = folder / "log"
    status = zygote().fork(["-c", code], {**ENV, "CHATWS_DATA_DIR": str(folder), **env}, log).wait()
    said = log.read_text()
    log.unlink()
    return status, said


def test_child_settings_follow_its_environment(tmp_path: Path) -> None:
    code = """
import rest_framework_simplejwt.settings
from django.db import connection
from chatws import conf as chat_conf
from realtime import conf
print(conf.get().redis_url, chat_conf.get().rpc_target, connection.settings_dict["NAME"])
print(rest_framework_simplejwt.settings.api_settings.SIGNING_KEY)
"""
    settings = {"REDIS_URL": "redis://127.0.0.1:7/5", "CHATWS_RPC_TARGET": "127.0.0.1:9", "CHATWS_JWT_SECRET": "s" * 40}
    status, said = output(tmp_path, code, **settings)
    assert status == 0, said
    assert (status, said.split()) == (
        0, ["redis://127.0.0.1:7/5", "127.0.0.1:9", str(tmp_path / "db.sqlite3"), "s" * 40],
    )  # fmt: skip
    assert "redis://127.0.0.1:6399/0" in output(tmp_path, code)[1]


def test_child_environment_is_exactly_as_given(tmp_path: Path) -> None:
    status, said = output(tmp_path, "import os; print(sorted(os.environ))", GIVEN="1")
    assert status == 0
    of_the_settings = {"TZ", "DJANGO_SECRET_KEY", "CHATWS_JWT_SECRET"}
    assert set(eval(said)) - of_the_settings == {*ENV, "CHATWS_DATA_DIR", "GIVEN"}


def test_children_draw_different_random_numbers(tmp_path: Path) -> None:
    code = "import random, uuid; print(random.random(), uuid.uuid4())"
    assert output(tmp_path, code) != output(tmp_path, code)


def test_child_shares_no_descriptor_with_the_zygote(tmp_path: Path) -> None:
    code = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')[:-1]])"
    status, said = output(tmp_path, code)
    assert status == 0
    assert set(eval(said)) <= {os.devnull, str(tmp_path / "log")}


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('why')", 1, "why"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
        ("import signal; signal.raise_signal(signal.SIGINT)", 1, "KeyboardInterrupt"),
    ],
)
def test_child_ends_like_a_python_process(tmp_path: Path, code: str, status: int, said: str) -> None:
    ended, printed = output(tmp_path, code)
    assert ended in (status, -signal.SIGINT if said == "KeyboardInterrupt" else status)
    assert said in printed


def test_signals_reach_the_child(tmp_path: Path) -> None:
    process = zygote().fork(["-c", "import signal; signal.pause()"], ENV, tmp_path / "log")
    assert process.poll() is None
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_children_end_with_their_starter(tmp_path: Path) -> None:
    """Kill the starter, as a hanging test process is killed; the children must end too."""
    code = f"""
import os, signal
from pathlib import Path
from tests.support.zygote import zygote
process = zygote().fork(["-c", "import signal; signal.pause()"], {ENV!r}, Path({str(tmp_path / "log")!r}))
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BASE_DIR, env=ENV, capture_output=True, text=True)
    child = int(done.stdout)
    with pytest.raises(ProcessLookupError):  # noqa: PT012
        while True:
            os.kill(child, 0)
