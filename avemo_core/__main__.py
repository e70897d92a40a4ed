"""The command line: python -m avemo_core analyze PATH..., python -m avemo_core explain CLIP --out DIR"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import table
from .types import WINDOW_HOP_S, AvemoError, ClipResult, Explanation
from .verdict import hardly_known, verb

if TYPE_CHECKING:
    from .analyzer import Analyzer
    from .baseline import Baseline

SUFFIXES = {
    *(".mp4", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".m4v", ".3gp"),
    *(".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac"),
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp"),
}
ERRORS = Console(stderr=True, highlight=False, markup=False)  # a file may be called [red].mp4


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files named, and of each folder every media file in it at any depth, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        else:
            found.append(path)
    return found


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m avemo_core", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    reading = argparse.ArgumentParser(add_help=False)  # what every command asks
    reading.add_argument("--checkpoint", default="default", help="a .safetensors file (default: the one that ships)")
    reading.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    person = argparse.ArgumentParser(add_help=False)
    person.add_argument("--person", type=int, metavar="N", help="which face to read, 0 being the largest (default)")
    one = "read the emotion that face and voice express in clips"
    _ask_analyze(commands.add_parser("analyze", help=one, parents=[reading, person]))
    one = "write maps of what in face and voice a reading comes from"
    _ask_explain(commands.add_parser("explain", help=one, parents=[reading, person]))
    one = "measure whether maps are better than random ones, over a folder of clips"
    _ask_trial(commands.add_parser("faithfulness", help=one, parents=[reading]))
    return top


def _ask_analyze(analyze: argparse.ArgumentParser) -> None:
    analyze.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="clips, or folders of clips")
    form = analyze.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON: an object for one clip, a list for several")
    form.add_argument("--csv", type=Path, metavar="FILE", help="write one row a window to FILE")
    analyze.add_argument(
        "--every",
        type=float,
        default=WINDOW_HOP_S,
        metavar="SECONDS",
        help="from one window to the next (default %(default)s)",
    )
    analyze.add_argument(
        "--baseline",
        type=Path,
        nargs="+",
        metavar="CLIP",
        help="other clips of the same person, or folders of them: what is usual for this face and voice is taken off",
    )
    analyze.add_argument("--neutral", action="store_true", help="the clips of --baseline are known to be neutral")


def _ask_explain(explain: argparse.ArgumentParser) -> None:
    explain.add_argument("clip", type=Path, metavar="CLIP")
    explain.add_argument(
        "--method", nargs="+", default=["cam"], metavar="NAME", help="cam (default), gradcam, occlusion, ..."
    )
    explain.add_argument("--target", metavar="LABEL", help="anger, or anger-disgust (default: the most likely label)")
    explain.add_argument("--window", type=int, metavar="N", help="one window, the first being 0 (default: the whole clip)")
    explain.add_argument("--layer", metavar="NAME", help="of the branches, for methods by gradient (default: the last)")
    explain.add_argument("--head", type=int, metavar="N", help="of cross-modal attention (default: the mean of all)")
    explain.add_argument(
        "--randomised",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="also each map's twin from random weights: one that is alike shows the clip, not what was learned",
    )
    cuts = explain.add_argument_group("what falls without it")
    cuts.add_argument(
        "--cut",
        type=float,
        nargs="*",
        default=[0.1, 0.2],
        metavar="SHARE",
        help="how far the target falls without the strongest share of each map (default: 0.1 0.2)",
    )
    cuts.add_argument("--span", type=float, nargs=2, metavar=("FROM", "TO"), help="and without these seconds")
    cuts.add_argument(
        "--box",
        type=float,
        nargs=4,
        metavar="SHARE",
        help="of --span only this box of the face: left top right bottom, 0 to 1",
    )
    cuts.add_argument("--hz", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of --span only this band of the voice")
    files = explain.add_argument_group("what is written")
    files.add_argument("--json", action="store_true", help="print JSON: the reading, and of each map all but its cells")
    files.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="raw maps (npz) and figures (svg, png) go here"
    )
    files.add_argument("--sound", action="store_true", help="also what the map marks of the sound, and the rest, as wav")
    files.add_argument(
        "--video", action="store_true", help="also the clip with the map over its face, as mp4 with its sound"
    )
    files.add_argument(
        "--look",
        default="heat",
        metavar="NAME",
        help="of the video: heat (default), kept (all but what the map marks is blurred) or rest (only that is)",
    )
    files.add_argument(
        "--opacity", type=float, default=1.0, metavar="SHARE", help="of the heat in the video, 0 to 1 (default %(default)s)"
    )


def _ask_trial(trial: argparse.ArgumentParser) -> None:
    trial.add_argument("--root", type=Path, required=True, help="a folder with a manifest.csv or FER+ .parquet files")
    trial.add_argument("--split", help="only the rows of this split, or of this usage")
    trial.add_argument("--methods", nargs="+", default=["cam", "gradcam", "layercam"], metavar="NAME")
    trial.add_argument("--limit", type=int, metavar="N", help="only N clips, evenly spread over the folder")
    trial.add_argument("--draws", type=int, default=3, metavar="N", help="random maps for each map (default %(default)s)")
    trial.add_argument("--layer", metavar="NAME", help="of the branches, for methods by gradient (default: the last)")
    trial.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="a line of JSON a clip and map; a stop loses nothing"
    )
    trial.add_argument("--json", action="store_true", help="print the summary as JSON; otherwise a table")


def sentence(result: ClipResult) -> str:
    """One line a person can read."""
    verdict = result.verdict
    if verdict.abstained:
        return f"no clear reading: {verdict.reason} (most likely {verdict.label}, {verdict.confidence:.2f})"
    face, voice = result.face.available, result.voice.available
    who = "face and voice" if face and voice else "the face" if face else "the voice"
    return f"{who} {verb(verdict.label, face, voice)} {verdict.label} (confidence {verdict.confidence:.2f})"


def learn(analyzer: "Analyzer", files: Sequence[Path], neutral: bool) -> tuple["Baseline", int]:
    """The person's baseline from these clips, and how many could not be read: each is named and the rest are used."""
    read: list[ClipResult] = []
    for path in files:
        try:
            read.append(analyzer.analyze(path))
        except AvemoError as error:
            ERRORS.print(f"{path}: {error}", style="red", soft_wrap=True)
    if not read:
        raise AvemoError(f"No clip of --baseline could be read ({len(files)} found); give clips of the person.")
    found = analyzer.learn(read, neutral)
    told = found.summary()
    clips = "1 clip" if told["clips"] == 1 else f"{told['clips']} clips"
    ERRORS.print(f"Baseline from {clips}: {told['face_s']} s of face, {told['voice_s']} s of speech.")
    if hardly_known(told):
        ERRORS.print(hardly_known(told), soft_wrap=True)
    return found, len(files) - len(read)


def analyze(args: argparse.Namespace) -> int:
    """Reads every file; a file that cannot be read is reported and the rest go on. 0: all read, 2: some not."""
    files = files_of(args.paths)
    if args.neutral and not args.baseline:
        raise AvemoError("--neutral says that the clips of --baseline are neutral; give these clips too.")
    if not files:
        ERRORS.print(
            f"No media file in {', '.join(map(str, args.paths))}; looked for {', '.join(sorted(SUFFIXES))}.", soft_wrap=True
        )
        return 2
    from .analyzer import Analyzer  # torch takes seconds: not before there is something to read

    analyzer = Analyzer(args.checkpoint, args.device)
    baseline, failed = learn(analyzer, files_of(args.baseline), args.neutral) if args.baseline else (None, 0)
    results: list[ClipResult] = []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal) as bar:
        task = bar.add_task("reading", total=len(files))
        for path in files:
            bar.update(task, description=path.name[:40])
            try:
                result = analyzer.analyze(path, every=args.every, person=args.person, baseline=baseline)
            except AvemoError as error:
                failed += 1
                bar.console.print(f"{path}: {error}", style="red", soft_wrap=True)
            else:
                results.append(result)
                if not args.json:
                    print(f"{path}: {sentence(result)}", flush=True)
            bar.advance(task)
    if args.json:
        records = [result.to_json() for result in results]
        one = len(args.paths) == 1 and not args.paths[0].is_dir()
        if records or not one:  # one clip that cannot be read has no record
            print(json.dumps(records[0] if one else records, ensure_ascii=False, indent=2))
    if args.csv:
        with args.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.HEADER)
            for result in results:
                writer.writerows(table.rows(result, str(result.clip.path)))
    return 2 if failed else 0


def explain(args: argparse.Namespace) -> int:
    """Writes each method's maps and what else was asked for; prints where, and the target without their strongest part."""
    from .analyzer import Analyzer
    from .explain import overlay
    from .explain.effect import Part
    from .explain.explanation import explain_all
    from .explain.faithfulness import likeness

    if args.span is None and (args.box or args.hz):
        raise AvemoError("--box and --hz are parts of a span; give --span FROM TO in seconds too.")
    box, hz = (one and tuple(one) for one in (args.box, args.hz))
    part = None if args.span is None else Part(args.span[0], args.span[1], box, hz)
    analyzer = Analyzer(args.checkpoint, args.device)
    with Progress(TextColumn("{task.description}"), BarColumn(), console=ERRORS, transient=True) as bar:
        bar.add_task("reading and explaining", total=None)
        result = analyzer.analyze(args.clip, person=args.person)
        asked = (analyzer, result, tuple(args.method), args.target, args.window, None, args.layer, args.head)
        found = explain_all(*asked, cut=args.cut, part=part)
        twins = [] if args.randomised is None else explain_all(*asked, randomised=args.randomised)
    if args.video:  # before anything is written
        for one in found:
            overlay.Overlay(result, one, args.look, args.opacity)
    said = [f"{args.clip}: {sentence(result)}"]
    records = [one.to_json() for one in found]
    args.out.mkdir(parents=True, exist_ok=True)
    for one in found:
        said.append(_written(args, result, one, f"{args.clip.stem}.{one.method}"))
        said += [f"  without {cut.what}: {cut.before:.3f} to {cut.after:.3f}, {-cut.fall:+.3f}" for cut in one.effects]
    for one, twin, record in zip(found, twins, records, strict=False):
        said.append(_written(args, result, twin, f"{args.clip.stem}.{one.method}.randomised"))
        alike = likeness(one, twin)
        record["randomised"] = {"seed": args.randomised, "rank_correlation": alike}
        said += [f"  rank correlation of the {name} with this twin: {value:+.2f}" for name, value in alike.items()]
    if args.json:
        print(json.dumps({"reading": result.to_json(), "explanations": records}, ensure_ascii=False, indent=2))
    else:
        print("\n".join(said))
    return 0


def _written(args: argparse.Namespace, result: ClipResult, one: Explanation, name: str) -> str:
    """Writes one explanation's files, which begin with `name`; says where."""
    from .explain import figure, listen

    for kind in figure.KINDS:
        (args.out / f"{name}.{kind}").write_bytes(figure.export(result, one, kind))
    if args.sound and one.voice is not None:
        for part, samples in zip(("kept", "rest"), listen.kept_and_rest(result, one), strict=True):
            (args.out / f"{name}.{part}.wav").write_bytes(listen.encoded(samples))
    written = ".npz, .svg, .png"
    if args.video:
        _film(result, one, args.out / f"{name}.{args.look}.mp4", args.look, args.opacity)
        written += f", .{args.look}.mp4"
    without = "".join(f" No map of the {modality}: {reason}." for modality, reason in one.missing.items())
    return f"{figure.heading(one)}: {args.out / name}{written}.{without}"


def _film(result: ClipResult, found: Explanation, path: Path, look: str, opacity: float) -> None:
    """Writes the video of one map; the bar goes by the clip's seconds."""
    from .explain import overlay

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal) as bar:
        task = bar.add_task(path.name[:40], total=result.clip.duration_s)
        overlay.write(result, found, path, look, opacity, lambda done, total: bar.update(task, completed=done, total=total))


def trial(args: argparse.Namespace) -> int:
    """Measures every method on every clip, and prints the gains over random maps."""
    from .analyzer import Analyzer
    from .explain import survey

    items = survey.items_of(args.root, args.split)
    if args.limit and args.limit < len(items):
        items = [items[round(n * (len(items) - 1) / max(args.limit - 1, 1))] for n in range(args.limit)]
    analyzer = Analyzer(args.checkpoint, args.device)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal) as bar:
        task = bar.add_task("measuring", total=len(items))
        found = survey.survey(
            analyzer,
            items,
            args.methods,
            args.out,
            args.draws,
            args.layer,
            lambda done, total: bar.update(task, completed=done),
        )
    rows = survey.summary(found)
    if args.json:
        print(json.dumps({"model_id": analyzer.model_id, "root": str(args.root), "rows": rows}, indent=2))
        return 0
    for row in rows:
        ends = row["deletion_interval"]
        interval = "one person, so no interval" if ends is None else f"95 % {ends[0]:+.4f} to {ends[1]:+.4f}"
        name = " ".join(filter(None, (row["method"], row["layer"])))
        print(
            f"{name:22} {row['modality']:6} n {row['n']:4}  better than random in {row['deletion_better']:.0%}, "
            f"area under deletion lower by {row['deletion_gain']:+.4f} ({interval})"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        return {"analyze": analyze, "explain": explain, "faithfulness": trial}[args.command](args)
    except (ValueError, OSError) as error:  # AvemoError among them
        ERRORS.print(str(error), style="red", soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        ERRORS.print("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
