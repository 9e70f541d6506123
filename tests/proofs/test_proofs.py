"""Check that `make proofs` runs every proof whatever happens to others, and reports missed goals by exit status."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.tutorial import interruptible
from tests.proofs.__main__ import PROOFS, Proof, Runner, main, run_all
from tests.proofs.figures import Figure, Result, table
from tests.proofs.measure import MEASURES

WRITES = "import json, sys; open(sys.argv[-1], 'w').write(json.dumps([{}]))"


def proof(name: str, code: str) -> Proof:
    return Proof(name, "a small one", command=(sys.executable, "-c", code))


def with_figure(name: str, *, met: bool) -> Proof:
    figure = {"what": "a delay", "value": "3 s", "goal": "2 s", "met": met}
    return proof(name, WRITES.format(figure))


CRASHES = proof("crashes", "raise ValueError('no such thing')")
HANGS = proof("hangs", "import threading; print('begun', flush=True); threading.Event().wait()")


def test_every_proof_has_its_measure() -> None:
    assert [proof.name for proof in PROOFS] == list(MEASURES)
    assert sum(proof.seconds for proof in PROOFS) <= 30 * 60


def test_crash_or_missed_goal_stops_no_other_proof(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proofs = [CRASHES, with_figure("slow", met=False), proof("silent", ""), with_figure("well", met=True)]
    assert run_all(proofs, Runner(tmp_path)) == 1
    printed = capsys.readouterr().out
    assert "ended with exit status 1: ValueError: no such thing" in printed
    assert "ended without figures" in printed
    assert f"slow missed a goal: its output is in {tmp_path / 'slow.log'}" in printed
    assert [line.split("|")[5].strip() for line in printed.splitlines() if line.startswith("| ")][2:] == [
        "missed", "missed", "missed", "met",
    ]  # fmt: skip


def test_all_goals_met_is_exit_status_zero(tmp_path: Path) -> None:
    assert run_all([with_figure("one", met=True), with_figure("two", met=True)], Runner(tmp_path)) == 0


def test_hanging_proof_is_ended(tmp_path: Path) -> None:
    result = Runner(tmp_path, longest_seconds=0.5).run(HANGS)
    assert (result.met, result.problem) == (False, "did not end within 0 s")


def test_ctrl_c_ends_the_proof_and_prints_the_table(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from tests.e2e.tutorial import interruptible
from tests.proofs.__main__ import Runner, run_all
from tests.proofs.test_proofs import HANGS, with_figure
sys.exit(run_all([with_figure("before", met=True), HANGS], Runner(Path({str(tmp_path)!r}))))
"""
    log = tmp_path / "hangs.log"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        while not (log.exists() and "begun" in log.read_text()):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in printed
    assert "| before | a delay" in printed


def test_table_names_figure_goal_and_seconds() -> None:
    figures = [Figure("a delay", "1 s", "2 s or less", met=True), Figure("a share", "9%", "5% or less", met=False)]
    lines = table([Result("proof", figures, 12.4, Path("log"))]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["proof", "what was measured", "figure", "goal", "", "seconds"]
    assert cells[2] == ["proof", "a delay", "1 s", "2 s or less", "met", "12"]
    assert cells[3] == ["", "a share", "9%", "5% or less", "missed", ""]


def test_list_names_every_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MEASURES)
