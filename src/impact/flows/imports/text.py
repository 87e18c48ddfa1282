"""Small rules for text that comes from elsewhere."""

import re
import unicodedata

_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits joined by hyphens; empty when nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _NOT_SLUG.sub("-", plain.lower()).strip("-")


def tidy(text: str) -> str:
    """Without space at the ends, and one space for each run of it inside."""
    return " ".join(text.split())
