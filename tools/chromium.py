"""`python -m tools.chromium` installs a Chromium for the browser tests if none is found, and prints its path.

It tries Playwright's download first, then Debian's package if run as root.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools import debian

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The first has no code for windows, and needs a third less processor time for a page."""
DOWNLOADS = ("chromium_headless_shell-*/*/*headless*shell", "chromium-*/chrome-linux*/chrome")
VARIABLE = "CHATWS_CHROMIUM"
FONTS = ("fonts-wqy-microhei", "fonts-noto-color-emoji")
"""Fonts for pages in Chinese; nothing fails without them."""


def find() -> str:
    """Return the path of a Chromium, or ``""``; `CHATWS_CHROMIUM` takes precedence."""
    named = os.environ.get(VARIABLE)
    if named:
        return named if Path(named).exists() else ""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    cache = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache" / "ms-playwright"))
    return next((str(path) for pattern in DOWNLOADS for path in sorted(cache.glob(pattern))), "")


def main() -> None:
    """Find a Chromium, or install one."""
    if not find():
        debian.run_quietly([sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"])
    for package in ("chromium-headless-shell", "chromium"):
        if not find() and debian.can_install():
            debian.install(package)
    if not find():
        sys.exit(f"no Chromium was found and none could be installed; install one, or name it in {VARIABLE}")
    if not _has_chinese_font() and debian.can_install():
        debian.install(*FONTS)
    print(f"Chromium for the browser tests: {find()}")


def _has_chinese_font() -> bool:
    if not shutil.which("fc-list"):
        return True  # cannot be determined
    found = subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True)
    return bool(found.stdout)


if __name__ == "__main__":
    main()
