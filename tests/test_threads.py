"""Threads that wait must not take the processor from those that work."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import avemo_core, os, time, torch
torch.set_num_threads(2)
values = torch.ones(400_000)
values.add(1)
before = os.times()
for _ in range(150):
    values.add(1)  # work for both threads
    time.sleep(0.002)  # and none for a while
after = os.times()
print(after.user + after.system - before.user - before.system)
"""


def processor_seconds(**environment: str) -> float:
    """What that little work takes, spread over a third of a second or more."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[1],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return float(done.stdout)


def test_idle_threads_do_not_spin():
    assert processor_seconds() < 0.6 * processor_seconds(OMP_WAIT_POLICY="ACTIVE")
