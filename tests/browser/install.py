"""Makes sure that a Chromium is there for the browser tests: python -m tests.browser.install."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of an installed Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def main() -> int:
    if find():
        print(f"Browser tests use {find()}.")
        return 0
    if not shutil.which("apt-get"):
        print(
            "No Chromium was found, and this system has no apt-get: install Chromium by hand, then run the tests.",
            file=sys.stderr,
        )
        return 1
    root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
    subprocess.run([*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=True)
    return 0 if find() else 1


if __name__ == "__main__":
    sys.exit(main())
