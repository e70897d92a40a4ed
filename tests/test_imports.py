"""Who may import whom: read from the source, and tried in a fresh interpreter."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {"try_it", "live", "inspect", "compare", "about"}
STUDY_TAKES = ("labels", "types", "media", "encoding", "look")  # none of them needs torch


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    packages = [ROOT / name for name in ("avemo_core", "annotate", "training")]
    return [*sorted(path for package in packages for path in package.rglob("*.py")), ROOT / "app.py"]


def imported(source: str, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a source may bring in, absolute: of `from x import y` both x and x.y, relative names resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = module.split(".")
            if node.level:
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, *([node.module] if node.module else [])])
            else:
                base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def broken_rule(importer: str, target: str) -> str | None:
    """The rule that this import breaks, or None."""
    web = within(importer, "avemo_core.web", "annotate.web")
    top, page = importer.split(".")[0], importer.rsplit(".", 1)[-1]
    if within(target, "app"):
        return "nothing imports app"
    if within(target, "gradio", "fastapi") and not (web or importer == "app"):
        return "only pages and app.py import gradio or fastapi"
    if top == "avemo_core" and within(target, "annotate", "training"):
        return "avemo_core knows nothing of studies and training"
    if top == "avemo_core" and not web and within(target, "avemo_core.web"):
        return "the core does not import its pages"
    if top == "annotate" and within(target, "training"):
        return "the study does not import training"
    if top == "annotate" and within(target, "avemo_core") and target != "avemo_core":
        allowed = within(target, *(f"avemo_core.{name}" for name in STUDY_TAKES))
        return None if allowed else f"the study takes of the core only {', '.join(STUDY_TAKES)}"
    if top == "training" and within(target, "avemo_core.web", "annotate") and not within(target, "annotate.store"):
        return "training imports the core and the store of ratings only"
    if web and page in PAGES and any(within(target, f"{importer.rsplit('.', 1)[0]}.{other}") for other in PAGES - {page}):
        return "pages do not import each other"
    return None


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_the_rules(path):
    module = module_name(path)
    targets = set(imported(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"))
    assert {t: rule for t in targets if (rule := broken_rule(module, t))} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("avemo_core.sound", "import gradio as gr"),
        ("avemo_core.live", "from .web import live"),
        ("avemo_core.explain.render", "from ..web.record import csv"),
        ("avemo_core.analyzer", "def f():\n    from training import voice"),
        ("avemo_core.web.try_it", "from . import about"),
        ("avemo_core.web.try_it", "from .live import live_page"),
        ("training.train", "from avemo_core.web import record"),
        ("training.voice", "from annotate import queue"),
        ("annotate.store", "from avemo_core import analyzer"),
        ("avemo_core.web.site", "import app"),
    ],
)
def test_each_planted_violation_is_seen(module, source):
    assert any(broken_rule(module, target) for target in imported(source, module, False))


@pytest.mark.parametrize("modules", ["avemo_core.labels, avemo_core.media, avemo_core.types", "avemo_core"])
def test_labels_and_media_come_without_torch_and_gradio(modules):
    code = f"import sys, {modules}; print(sorted({{'torch', 'gradio', 'fastapi', 'facenet_pytorch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_analyzer_comes_without_gradio():
    code = "import sys; from avemo_core import Analyzer; print(sorted({'gradio', 'fastapi', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr
