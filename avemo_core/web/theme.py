"""How the demo's pages are dressed: Gradio's theme, the bar on top and the foot. Icons and colours come from look.

The bar is part of the page as the server sends it, not of Gradio's later rendering: it is there at once, in the right
theme, and works without JavaScript.
"""

import re
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from ..look import MARK, NOT_FELT, icon

if TYPE_CHECKING:
    from .site import Page


def gradio_theme() -> gr.themes.Base:
    """Gradio's own parts in our colours, with the system's fonts: nothing is loaded from outside."""
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    same = {
        "body_background_fill": "var(--surface-0)",
        "body_text_color": "var(--ink)",
        "background_fill_primary": "var(--surface-1)",
        "background_fill_secondary": "var(--surface-2)",
        "block_background_fill": "var(--surface-1)",
        "border_color_primary": "var(--line)",
        "link_text_color": "var(--accent)",
    }
    return theme.set(**same, **{f"{name}_dark": value for name, value in same.items()})


def markup(html: str, js_on_load: str | None = None) -> gr.HTML:
    """Markup of a page as it stands, without Gradio's frame, padding or text styles round it."""
    return gr.HTML(html, js_on_load=js_on_load, apply_default_css=False, container=False, padding=False)


def top_bar(pages: "tuple[Page, ...]", current: "Page", model_id: str, more: tuple[tuple[str, str], ...] = ()) -> str:
    """`more`: name and address of pages beside the demo's own."""
    links = "".join(
        f'<a href="{page.path}"{" aria-current=page" if page is current else ""}>{escape(page.name)}</a>' for page in pages
    )
    links += "".join(f'<a href="{escape(path)}">{escape(name)}</a>' for name, path in more)
    return (
        '<a class="skip" href="#content">Skip to the content</a>'
        f'<header class="top"><div class="in"><a class="brand" href="/">{MARK}AVEMO</a>'
        f'<nav class="nav" aria-label="Pages">{links}</nav><div class="row sp">'
        f'<span class="small dim nw model">Model <b>{escape(model_id)}</b></span>'
        f'<button class="btn q r" id="theme" type="button" aria-label="Dark theme" aria-pressed="false">{icon("theme")}'
        "</button></div></div></header>"
    )


def foot() -> str:
    return (
        f'<footer class="foot"><span>{NOT_FELT}</span><span class="sp"></span><a href="/about#how">How it works</a>'
        '<a href="/about#card">Model card</a><a href="/about#privacy">Privacy</a></footer>'
    )


def dress(html: str, current: "Page", bar: str, nonce: str, version: str) -> str:
    """Gradio's page with our head, bar and foot; its inline scripts get the nonce, its outside pictures go."""
    title = f"{current.name} - AVEMO"
    styles = "".join(
        f'<link rel="stylesheet" href="/static/css/{name}.css?v={version}">' for name in ("tokens", "emotions", "avemo")
    )
    head = (
        f'<title>{escape(title)}</title><meta name="description" content="{escape(current.description)}">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" type="image/svg+xml" href="/static/icon.svg">'
        f'<script src="/static/js/theme.js?v={version}"></script>{styles}'
    )
    html = re.sub(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*', "", html)
    html = html.replace('<link rel="manifest" href="/manifest.json" />', "")
    # In a layer, Gradio's reset of buttons, headings and links yields to our styles, whatever its selectors weigh. The
    # link stays, switched off: Gradio's loader adds it again where it does not find it.
    html = re.sub(
        r'<link rel="stylesheet" crossorigin href="(\./assets/[\w.-]+)">',
        r'<link rel="stylesheet" crossorigin href="\1" media="not all"><style>@import url("\1") layer(gradio);</style>',
        html,
    )
    html = re.sub(r"<script(?![^>]*\bsrc=)", f'<script nonce="{nonce}"', html)
    html = html.replace('control_page_title="true"', 'control_page_title="false"')  # or every page is called AVEMO
    html = html.replace("</head>", f"{head}</head>", 1)
    html = html.replace("<gradio-app", f'{bar}<gradio-app id="content" tabindex="-1"', 1)
    return html.replace("</gradio-app>", f"</gradio-app>{foot()}", 1)
