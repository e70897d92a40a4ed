"""The Try it page: a clip in, a reading out. The markup stands in try_it.html, what moves in static/js/try_it.js."""

from pathlib import Path

from . import theme
from .services import Services

TEMPLATE = Path(__file__).with_name("try_it.html")


def try_it_page(services: Services) -> None:
    """Called while a gr.Blocks is open. The limits and times that the page names are the server's own."""
    settings = services.settings
    html = (
        TEMPLATE.read_text(encoding="utf-8")
        .replace("@longest@", _duration(settings.max_duration_s))
        .replace("@largest@", f"{settings.max_bytes // (1024 * 1024)} MB")
        .replace("@kept@", _duration(settings.keep_s))
    )
    theme.markup(html, js_on_load="import('/static/js/try_it.js').then(m => m.start(element))")


def _duration(seconds: float) -> str:
    """ "30 minutes", "45 s"."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:g} s"
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"
