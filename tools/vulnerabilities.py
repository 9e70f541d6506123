"""`python -m tools.vulnerabilities` looks up known vulnerabilities of the locked packages.

It also reports when no source could be asked: pip-audit alone succeeds if its source knows none of the packages.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from config.env import BASE_DIR
from tools.lock import DEV

NAMES_SHOWN = 5


def audit(options: list[str]) -> list[dict[str, Any]]:
    """Return pip-audit's answer for each package; empty if no source answered."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        DEV,
        "--no-deps",
        "--disable-pip",
        "--format",
        "json",
    ]
    command += ["--progress-spinner", "off", "--timeout", "5", *options]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return found


def main() -> None:
    """Audit the packages; exit with 1 if a vulnerability was found."""
    parser = argparse.ArgumentParser(prog="python -m tools.vulnerabilities", description="Audit what the locks hold.")
    parser.add_argument("--require", action="store_true", help="fail, too, where no data can be reached")
    parser.add_argument("--osv-url", help="ask this OSV service instead of PyPI")
    given = parser.parse_args()
    packages = audit(["--vulnerability-service", "osv", "--osv-url", given.osv_url] if given.osv_url else [])
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    weak = [(package, weakness) for package in packages for weakness in package.get("vulns", ())]
    known = len(packages) - len(unknown)
    if not known:
        line = f"{DEV}: NOT AUDITED, no data about weaknesses can be reached from here; run `make audit` elsewhere"
        sys.exit(line) if given.require else print(line)
        return
    for package, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "nothing yet"
        print(f"{DEV}: {package['name']} {package['version']}: {weakness['id']}, fixed in {fixed}")
    some = ", ".join(unknown[:NAMES_SHOWN]) + (", …" if len(unknown) > NAMES_SHOWN else "")
    rest = f"; {len(unknown)} are not known there: {some}" if unknown else ""
    print(f"{DEV}: {known} packages audited, {len(weak)} known weaknesses{rest}")
    sys.exit(1 if weak else 0)


if __name__ == "__main__":
    main()
