"""How a download is named to the browser."""

from urllib.parse import quote


def attachment(name: str) -> str:
    """A download under this name, in any script (RFC 6266); programs that know only ASCII get underscores."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_. ") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
