"""Small text helpers."""

import re
import unicodedata

_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def slugify(text: str) -> str:
    """A handle made of the text: ``Café crème`` becomes ``cafe-creme``. Never empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_SLUG.sub("-", plain).strip("-")[:200] or "item"


def like_pattern(text: str | None) -> str | None:
    """``text`` anywhere, as a LIKE pattern in which its own wildcards are letters."""
    if not text:
        return None
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
