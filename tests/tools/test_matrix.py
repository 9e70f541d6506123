"""Check that `tools.matrix` tests what it finds, names what it lacks, and fails if a part fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import matrix
from tools.matrix import HERE, Combination


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the fast part by the tests in a folder, and every environment by this one."""
    monkeypatch.setattr(matrix, "FOLDER", tmp_path / "environments")
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "FAST", ["."])
    monkeypatch.setattr(matrix, "OPTIONS", ["-q", "-c", "/dev/null"])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(matrix, "PYTHONS", (HERE, "3.99"))
    monkeypatch.setattr(matrix, "environment", lambda combination: sys.executable)
    monkeypatch.setattr(sys, "argv", ["matrix", "--all"])
    return tmp_path


def test_every_python_runs_every_django_it_can() -> None:
    found = matrix.combinations(("3.11", "3.12"), every=True)
    assert found == [Combination("3.11", "5.2"), Combination("3.12", "5.2"), Combination("3.12", "6.0")]


def test_other_pythons_run_their_newest_django() -> None:
    found = matrix.combinations(matrix.PYTHONS, every=False)
    assert [combination.python for combination in found] == [v for v in matrix.PYTHONS if v != HERE]
    assert {combination.django for combination in found if combination.python != "3.11"} == {"6.0"}


def test_missing_python_is_named(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (parts / "test_part.py").write_text("def test_one(): pass\n")
    with pytest.raises(SystemExit) as stopped:
        matrix.main()
    assert stopped.value.code == 0
    rows = capsys.readouterr().out
    assert "1 passed" in rows
    assert "| 3.99 | 6.0 | | not tested: this machine has no Python 3.99 |" in rows


@pytest.mark.parametrize("content", ["def test_one(): assert 0\n", "import absent\n", ""])
def test_failed_part_fails_the_matrix(parts: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (parts / "test_part.py").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        matrix.main()
    assert stopped.value.code == 1
    assert "environments/" in capsys.readouterr().err


def test_packages_that_cannot_be_installed_fail_the_matrix(
    parts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(combination: Combination) -> str:
        raise subprocess.CalledProcessError(2, ["uv"])

    monkeypatch.setattr(matrix, "environment", fail)
    with pytest.raises(SystemExit) as stopped:
        matrix.main()
    assert stopped.value.code == 1
    assert "could not be installed" in capsys.readouterr().out


def test_command_that_only_fails_is_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.98"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    real = tmp_path / "pyenv/versions/3.98.1/bin/python3.98"
    real.parent.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert matrix.interpreter.__wrapped__("3.98") is None
    real.write_text("#!/bin/sh\necho 3.98\n")
    real.chmod(0o755)
    assert matrix.interpreter.__wrapped__("3.98") == str(real)
