"""Makes sure that what the tests need of the system is there: python -m tests.browser.install.

Chromium for the browser tests, and libGL for those beside Quantus (its OpenCV links to it).
"""

import ctypes.util
import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    packages = [] if find() else ["chromium"]
    if not ctypes.util.find_library("GL"):
        packages.append("libgl1")
    if packages and shutil.which("apt-get"):
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True)
    if not find():
        print(
            "No Chromium was found, and this system has no apt-get: install Chromium by hand, then run the tests.",
            file=sys.stderr,
        )
        return 1
    print(f"Browser tests use {find()}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
