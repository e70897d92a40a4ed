"""How a page is made: a template, the texts of the caller's language, and the bar with the pages of the caller's roles."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from avemo_core.look import MARK, icon

from ..accounts import Caller
from .access import PREFIX, services
from .texts import language_of, languages, texts

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tab:
    """A page in the bar. `text` is its name in the texts; `roles` are those that see it."""

    text: str
    path: str
    roles: frozenset[str]


LEADS = frozenset({"lead", "researcher"})
TABS = (
    Tab("tab_rate", f"{PREFIX}/", frozenset({"rater", "lead", "researcher", "adjudicator"})),
    Tab("tab_lead", f"{PREFIX}/lead", LEADS),
    Tab("tab_adjudicate", f"{PREFIX}/adjudicate", frozenset({"adjudicator"})),
    Tab("tab_people", f"{PREFIX}/people", frozenset({"lead"})),
)


def reads_pages(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(f"{PREFIX}/api/")


@functools.cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    made.globals.update(icon=lambda name: Markup(icon(name)), mark=Markup(MARK), prefix=PREFIX)
    return made


def page(
    request: Request, template: str, caller: Caller | None = None, *, status: int = 200, tab: str = "", **values: Any
) -> HTMLResponse:
    """The template as an answer. It may use: t (texts), caller, tabs, tab, language, languages, nonce, demo, and values."""
    language = language_of(request, caller)
    roles = caller.roles if caller else frozenset()
    html = (
        _environment()
        .get_template(template)
        .render(
            t=texts(language),
            language=language,
            languages=languages(),
            caller=caller,
            csrf=caller.csrf if caller else "",
            tabs=[t for t in TABS if t.roles & roles],
            tab=tab,
            demo=bool(roles & LEADS) and services(request).settings.demo,
            nonce=request.state.nonce,
            **values,
        )
    )
    return HTMLResponse(html, status)
