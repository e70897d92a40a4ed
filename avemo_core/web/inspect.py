"""The Inspect page: where a reading comes from. The markup stands in inspect.html, what moves in static/js/inspect.js."""

from pathlib import Path

from . import theme
from .services import Services

TEMPLATE = Path(__file__).with_name("inspect.html")


def inspect_page(services: Services) -> None:
    """Called while a gr.Blocks or route is open."""
    html = TEMPLATE.read_text(encoding="utf-8")
    theme.markup(html, js_on_load="import('/static/js/inspect.js').then(m => m.start(element))")
