"""Check the units of `deploy/systemd` against the code and systemd."""

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import Environment
from tests.support.deploy import DEPLOY, VARIABLES, check_command, missing

UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def read(unit: Path) -> configparser.ConfigParser:
    """Return a unit's sections; of a repeated key the last value."""
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser's documentation has it
    parsed.read_string(unit.read_text())
    return parsed


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_units_start_existing_commands(unit: Path) -> None:
    service = read(unit)["Service"]
    command = shlex.split(service["ExecStart"])
    assert command[0].startswith(service["WorkingDirectory"])
    check_command(command)
    assert set(re.findall(r"^Environment=(\w+)=", unit.read_text(), re.MULTILINE)) <= VARIABLES
    if "gateway" in unit.name:
        assert int(service["TimeoutStopSec"]) > Environment().chatws_drain_seconds + 5


def test_every_unit_is_started_by_something() -> None:
    assert {unit.name for unit in UNITS if "Install" not in read(unit)} == {"chatws-prune.service"}
    assert read(DEPLOY / "systemd/chatws-prune.timer")["Timer"]["OnCalendar"]


def test_admin_runs_apart_from_the_gateway() -> None:
    texts = {unit.stem: unit.read_text() for unit in SERVICES}
    assert "Environment=CHATWS_ADMIN=off\n" in texts["chatws-gateway"]
    assert "Environment=CHATWS_ADMIN=only\n" in texts["chatws-admin"]
    ports = [shlex.split(read(unit)["Service"]["ExecStart"]) for unit in SERVICES if "--port" in unit.read_text()]
    assert len({command[command.index("--port") + 1] for command in ports}) == 2


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if missing("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    units = []
    for unit in UNITS:
        units.append(tmp_path / unit.name)
        text = unit.read_text()
        units[-1].write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "chatws-" in line]
    assert (done.returncode, ours) == (0, [])
    for unit in units:
        if unit.suffix == ".service":  # 0 is all that systemd can lock up, 10 is nothing
            judged = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]
            done = subprocess.run(judged, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
