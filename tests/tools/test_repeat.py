"""Check that `tools.repeat` reads a run's output and ends its processes."""

import subprocess
from pathlib import Path

import pytest

from tools import repeat

MAKEFILE = """
test:
\t@echo '=========== 3 passed, 1 warning in 1.20s (0:00:01) ==========='
\t@echo 'FAILED tests/a/test_b.py::test_c - assert 0'
\t@echo '====== 1 failed, 4 passed in 2.00s ======'
\t@exit 1
"""


def test_failed_run_names_its_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    monkeypatch.setattr(repeat, "ROOT", tmp_path)
    run = repeat.once(7, tmp_path, is_loaded=True, clones=False)
    assert (run.status, run.passed, run.failed) == (2, 7, ["tests/a/test_b.py::test_c"])
    assert run.row.startswith("| 7 | busy | ")
    assert run.row.endswith(" | 7 | tests/a/test_b.py::test_c |")


def test_load_ends_with_the_run() -> None:
    with repeat.busy(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.returncode for process in processes)


def test_run_in_a_clone_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "Makefile").write_text("test:\n\t@pwd\n\t@echo '==== 1 passed in 0.10s ===='\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a start"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", *identity, *command], cwd=source, check=True)
    monkeypatch.setattr(repeat, "ROOT", source)
    run = repeat.once(8, tmp_path, is_loaded=False, clones=True)
    assert (run.status, run.passed) == (0, 1)
    where = (tmp_path / "repeat-8.log").read_text().splitlines()[0]
    assert where != str(source)
    assert not Path(where).exists()
