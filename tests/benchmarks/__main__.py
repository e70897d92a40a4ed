"""python -m tests.benchmarks: speed and memory, printed as tables. Nothing timed is ever asserted.

python -m tests.benchmarks                                  stages, maps, visitors, memory, rating
python -m tests.benchmarks --parts study                    the rating study under load, killed and restarted (an hour)
python -m tests.benchmarks --peer FER/bin/python            and beside fer==22.5.1 in its own environment
python -m tests.benchmarks --live                           and the live stream in a real browser
python -m tests.benchmarks --parts stages --clips 3         one part, quickly
"""

import argparse
import tempfile
from pathlib import Path

from tests.benchmarks import maps, memory, peer, rating_page, report, stages, study, visitors

PARTS = ("stages", "maps", "peer", "visitors", "memory", "rating", "study")
USUAL = PARTS[:-1]  # without the study's, which takes long


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(USUAL), help="run these only")
    parser.add_argument(
        "--peer", type=Path, metavar="PYTHON", help=f"the python of fer's environment, made by: {peer.ENVIRONMENT}"
    )
    parser.add_argument("--live", action="store_true", help="measure the live stream as well (minutes, needs Chromium)")
    parser.add_argument("--clips", type=int, default=12, metavar="N", help="clips for stages, maps and peer (default: 12)")
    parser.add_argument("--readings", type=int, default=200, metavar="N", help="clips for memory (default: 200)")
    parser.add_argument("--raters", type=int, default=50, metavar="N", help="raters for study (default: 50)")
    parser.add_argument("--submits", type=int, default=200, metavar="N", help="submits of each for study (default: 200)")
    parser.add_argument("--ratings", type=int, default=100, metavar="N", help="clips of each kind for rating (default: 100)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of the drawn clips (default: 4)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default: auto)")
    given = parser.parse_args(argv)
    if given.clips < 1 or given.readings < 1 or given.ratings < 1 or given.seconds < 0.5:
        parser.error("give at least 1 clip, 1 reading, 1 rating and clips of 0.5 s.")
    return given


def main(argv: list[str] | None = None) -> int:
    given = arguments(argv)
    report.machine()
    with tempfile.TemporaryDirectory(prefix="avemo-benchmarks-") as temporary:
        _run(given, Path(temporary))
    return 0


def _run(given: argparse.Namespace, folder: Path) -> None:
    own = {name: folder / name for name in PARTS}
    for place in own.values():
        place.mkdir()
    if {"stages", "maps", "peer"} & set(given.parts):
        from avemo_core.analyzer import Analyzer

        analyzer = Analyzer(device=given.device)
        report.note(f"Model {analyzer.model_id} on {analyzer.device}.")
        if "stages" in given.parts:
            stages.run(analyzer, own["stages"], given.clips, given.seconds)
        if "maps" in given.parts:
            maps.run(analyzer, own["maps"], given.clips)
        if "peer" in given.parts and given.peer:
            peer.run(analyzer, own["peer"], given.peer, given.clips, given.seconds)
        elif "peer" in given.parts:
            report.note(
                f"\nfer is left out: give the python of its environment with --peer. To make one: {peer.ENVIRONMENT}"
            )
    if "visitors" in given.parts:
        visitors.run(own["visitors"], given.device, given.seconds)
    if "memory" in given.parts:
        memory.run(own["memory"], given.device, given.readings, given.seconds)
    if "study" in given.parts:
        study.run(own["study"], given.raters, given.submits)
    if "rating" in given.parts:
        rating_page.run(own["rating"], given.ratings)
    if given.live:
        from tests.benchmarks import live_latency

        live_latency.main(["--device", given.device])


if __name__ == "__main__":
    raise SystemExit(main())
