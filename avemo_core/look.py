"""The one visual identity: icons, mark, and the emotions' colours as CSS, for every page. Needs no gradio."""

from .labels import EMOTIONS, Colours

# Stroke icons on 20 units, as the emotions' glyphs in labels; `f` parts are filled.
ICONS = {
    "face": '<rect x="3" y="3" width="14" height="14" rx="4"/><circle class="f" cx="7.4" cy="8.6" r="1.2"/>'
    '<circle class="f" cx="12.6" cy="8.6" r="1.2"/><path d="M7.4 12.6q2.6 1.8 5.2 0"/>',
    "voice": '<path d="M3 8.6v2.8M6.5 6v8M10 3.4v13.2M13.5 6.8v6.4M17 8.8v2.4"/>',
    "both": '<rect x="2" y="5" width="9.6" height="10" rx="3"/><path d="M10 7.4v5.2M13 5v10M16 7v6M18.6 8.8v2.4"/>',
    "play": '<path class="f" d="M6.2 3.8v12.4L16.4 10z"/>',
    "pause": '<path d="M6.8 4.5v11M13.2 4.5v11" stroke-width="3"/>',
    "stop": '<rect class="f" x="5" y="5" width="10" height="10" rx="1.5"/>',
    "loop": '<path d="M4 9a6 6 0 0110.4-2.8L16 8M16 4v4h-4M16 11a6 6 0 01-10.4 2.8L4 12M4 16v-4h4"/>',
    "up": '<path d="M10 13V3.5M6 7l4-3.8L14 7M3.5 13v3.5h13V13"/>',
    "down": '<path d="M10 3v9.5M6 9l4 3.8L14 9M3.5 14v2.5h13V14"/>',
    "rec": '<circle cx="10" cy="10" r="7"/><circle class="f" cx="10" cy="10" r="3.6"/>',
    "warn": '<path d="M10 3L18 16.6H2z"/><path d="M10 8v4M10 14.2v.2"/>',
    "check": '<path d="M4 10.6l4 4 8-9"/>',
    "no": '<path d="M5 5l10 10M15 5L5 15"/>',
    "lock": '<rect x="4" y="9" width="12" height="8" rx="2"/><path d="M6.6 9V6.4a3.4 3.4 0 016.8 0V9"/>',
    "q": '<path d="M7.2 7.4a2.9 2.9 0 115 2c-1.2 1-2.2 1.5-2.2 3M10 15.6v.2"/>',
    "apart": '<circle cx="5.4" cy="10" r="3.6"/><circle cx="14.6" cy="10" r="3.6"/>',
    "theme": '<circle cx="10" cy="10" r="6.6"/><path class="f" d="M10 3.4a6.6 6.6 0 010 13.2z"/>',
    "prev": '<path d="M12.5 4.5L7 10l5.5 5.5"/>',
    "next": '<path d="M7.5 4.5L13 10l-5.5 5.5"/>',
    "info": '<circle cx="10" cy="10" r="7.6"/><path d="M10 9v5M10 6.2v.2"/>',
    "shield": '<path d="M10 2.6l6.4 2.2v5c0 4-2.8 6.4-6.4 7.8-3.6-1.4-6.4-3.8-6.4-7.8v-5z"/>',
    "cam": '<rect x="2.5" y="5.5" width="10.5" height="9" rx="2"/><path d="M13 9l4.5-2.5v7L13 11z"/>',
}

MARK = (
    '<svg width="34" height="26" viewBox="0 0 34 26" aria-hidden="true" fill="none" stroke="currentColor" '
    'stroke-width="2.6" stroke-linecap="round"><circle cx="12" cy="13" r="10.5"/>'
    '<path d="M12 9v8M17 5.5v15M22 3v20M27 8v10M32 11v4" stroke="var(--accent)"/></svg>'
)
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -4 36 36" fill="none" stroke-width="3" stroke-linecap="round">'
    '<rect x="-1" y="-4" width="36" height="36" rx="8" fill="#fff"/><circle cx="12" cy="14" r="9.5" stroke="#12161D"/>'
    '<path d="M12 10v8M17 7v14M22 4v20M27 9v10M31 12v4" stroke="#4A3DA8"/></svg>'
)
NOT_FELT = "AVEMO reads the expression in face and voice. It does not measure what a person experiences."


def icon(name: str) -> str:
    """The SVG of an icon or of an emotion's glyph, in the colour of the text around it."""
    shape = EMOTIONS[name].icon if name in EMOTIONS else ICONS[name]
    return f'<svg class="ic" viewBox="0 0 20 20" aria-hidden="true">{shape}</svg>'


def icons_svg() -> str:
    """All icons and glyphs as one file: <svg class="ic"><use href="/static/icons.svg#happiness"/></svg>."""
    shapes = ICONS | {name: emotion.icon for name, emotion in EMOTIONS.items()}
    symbols = "".join(f'<symbol id="{name}" viewBox="0 0 20 20">{shape}</symbol>' for name, shape in shapes.items())
    filled = symbols.replace('class="f"', 'fill="currentColor" stroke="none"')
    return f'<svg xmlns="http://www.w3.org/2000/svg">{filled}</svg>'


def emotions_css() -> str:
    """The emotions' colours as CSS variables in both themes, and a class .em-<name> that sets --c --cl --ci --ct."""

    def variables(theme: str) -> str:
        lines = []
        for name, emotion in EMOTIONS.items():
            colours: Colours = getattr(emotion, theme)
            lines.append(
                f"  --e-{name}: {colours.fill}; --e-{name}-line: {colours.line}; "
                f"--e-{name}-ink: {colours.ink}; --e-{name}-tint: {colours.tint};"
            )
        return "\n".join(lines)

    classes = "\n".join(
        f".em-{n} {{ --c: var(--e-{n}); --cl: var(--e-{n}-line); --ci: var(--e-{n}-ink); --ct: var(--e-{n}-tint); }}"
        for n in EMOTIONS
    )
    return (
        "/* Made from avemo_core/labels.py. */\n"
        f":root {{\n{variables('light')}\n}}\n[data-theme=dark] {{\n{variables('dark')}\n}}\n{classes}\n"
    )
