"""Plain tables on standard output, and what a number needs beside it: how many, how spread, on what machine."""

import os
import platform
import time
from collections.abc import Sequence

import numpy as np
import psutil

BUSY_LOOK_S = 2.0  # how long the load of other programs is watched before a part


def title(text: str) -> None:
    print(f"\n== {text} ==", flush=True)


def note(text: str) -> None:
    print(text, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; the first is words, the others are flush right."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    for n, row in enumerate(cells):
        line = [
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(line).rstrip())
        if n == 0:
            print("  ".join("-" * width for width in widths))
    print(flush=True)


def spread(values: Sequence[float], form: str = ".3f", at: Sequence[float] = (0.5, 0.9)) -> list[str]:
    """Quantiles (median and 90th percentile) and n, as cells."""
    if not len(values):
        return [*("-" for _ in at), "0"]
    return [*(format(float(np.quantile(values, q)), form) for q in at), str(len(values))]


def machine() -> None:
    """What ran the numbers."""
    import torch

    named = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    print(f"{named[0] if named else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GB; {platform.platform()}")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)


def busy() -> None:
    """Says how much of the machine other programs take: times beside a busy neighbour are longer than on an idle one."""
    before, started = processor_s(), time.perf_counter()
    everyone = psutil.cpu_percent(BUSY_LOOK_S) / 100 * (os.cpu_count() or 1)
    mine = (processor_s() - before) / (time.perf_counter() - started)
    others = max(0.0, everyone - mine)
    print(f"{time.strftime('%H:%M')}: other programs use {others:.1f} of {os.cpu_count()} cores.", flush=True)


def processor_s() -> float:
    """Processor seconds that this program and its decoding workers have used: they hardly depend on busy neighbours."""
    return sum(_cpu_s(p) for p in [psutil.Process(), *psutil.Process().children(recursive=True)])


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
