"""Small text helpers."""

import re
import unicodedata

_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def slugify(text: str, fallback: str) -> str:
    """A handle made of the text: ``Café crème`` becomes ``cafe-creme``.

    ``fallback`` stands in for a text without Latin letters and digits.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_SLUG.sub("-", plain)[:200].strip("-") or fallback


def like_pattern(text: str | None) -> str | None:
    """``text`` anywhere, as a LIKE pattern in which its own wildcards are letters.

    The statement lowers it: only the database knows how its own ``lower`` treats a letter.
    """
    if not text:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
