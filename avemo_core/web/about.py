"""The About page: what is read, how, how well, and what happens to a clip. Numbers come from the settings and the card."""

from .services import Services
from .theme import NOT_FELT, markup


def about_page(services: Services) -> None:
    """The page, inside an open Blocks or route."""
    markup(f'<div class="page"><h1 class="verdict">{NOT_FELT}</h1></div>')
