"""Threads that wait must not take the processor from those that work."""

import os
import re
import subprocess
import sys
from pathlib import Path


def test_idle_threads_do_not_spin():
    """OpenMP itself says how its threads wait, once the package is imported before torch."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import avemo_core, torch"],
        cwd=Path(__file__).parents[1],
        env=kept | {"OMP_DISPLAY_ENV": "TRUE"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert re.search(r"OMP_WAIT_POLICY *= *'PASSIVE'", done.stderr), done.stderr
