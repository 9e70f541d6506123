"""Check that `tools/install.py` installs a hashed lock by uv, or by pip without uv, and that a wrong hash stops both.

The packages are wheels made here; no registry is used.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.env import BASE_DIR
from tools.install import UV


class Project:
    """A folder with the tool, a lock of one package, and an index of wheels beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        (self.folder / "tools").mkdir(parents=True)
        shutil.copy(BASE_DIR / "tools/install.py", self.folder / "tools")
        (self.folder / "requirements-uv.txt").write_text(f"uv==0.0.1 --hash=sha256:{'0' * 64}\n")

    def lock(self, digest: str) -> None:
        (self.folder / "lock.txt").write_text(f"pebble==1.0 --hash=sha256:{digest}\n")

    def make_wheel(self) -> str:
        """Make a wheel with one module and return the SHA-256 of its file."""
        files = {
            "pebble.py": "size = 3\n",
            "pebble-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pebble\nVersion: 1.0\n",
            "pebble-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{name},sha256={_hash(text)},{len(text)}\n" for name, text in files.items())
        path = self.wheels / "pebble-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)
            wheel.writestr("pebble-1.0.dist-info/RECORD", record + "pebble-1.0.dist-info/RECORD,,\n")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def install(self) -> subprocess.CompletedProcess[str]:
        local = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        environment = {"HOME": str(self.folder), **local, "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(self.wheels)}
        command = [sys.executable, "tools/install.py", "lock.txt"]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)

    def size_of_pebble(self) -> str:
        command = [str(self.folder / ".venv/bin/python"), "-c", "import pebble; print(pebble.size)"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def give_uv(self) -> None:
        """Put this environment's uv where the tool looks for it, in the version that the lock names."""
        version = subprocess.run([UV, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        (self.folder / "requirements-uv.txt").write_text(f"uv=={version} --hash=sha256:{'0' * 64}\n")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / ".venv"], check=True)
        (self.folder / ".venv/bin/uv").symlink_to(UV)


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_pip_installs_if_uv_has_no_wheel(project: Project) -> None:
    project.lock(project.make_wheel())
    done = project.install()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip installs" in done.stdout
    assert project.size_of_pebble() == "3"


def test_uv_installs_if_it_is_available(project: Project) -> None:
    project.lock(project.make_wheel())
    project.give_uv()
    done = project.install()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pip installs" not in done.stdout
    assert project.size_of_pebble() == "3"


@pytest.mark.parametrize("has_uv", [False, True])
def test_wrong_hash_installs_nothing(project: Project, has_uv: bool) -> None:
    project.make_wheel()
    project.lock("0" * 64)
    if has_uv:
        project.give_uv()
    assert project.install().returncode != 0
    assert project.size_of_pebble() == ""
