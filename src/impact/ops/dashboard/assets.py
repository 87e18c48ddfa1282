"""The page and its files, as they lie in the package; nothing comes from elsewhere."""

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from typing import NamedTuple

_FILES = (
    *("ops.css", "icon.svg"),
    *("dom.js", "access.js", "table.js", "plan.js", "board.js", "ops.js"),
)
"""A script after those it imports: their names, which it holds, become part of its own."""
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types ops"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Asset(NamedTuple):
    body: bytes
    media_type: str


class Site(NamedTuple):
    """``etag`` is of the page; ``assets`` by the names that the page calls them, which change with
    their content."""

    page: bytes
    etag: str
    assets: dict[str, Asset]


@cache
def site() -> Site:
    folder = files("impact.ops.dashboard")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assets: dict[str, Asset] = {}
    names: dict[str, str] = {}
    for name in _FILES:
        body = (folder / name).read_bytes()
        for imported, path in names.items():
            body = body.replace(f'"./{imported}"'.encode(), f'"{path}"'.encode())
        stem, _, ending = name.partition(".")
        hashed = f"{stem}.{_digest(body)}.{ending}"
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        assets[hashed] = Asset(body, kind)
        names[name] = f"/ops/assets/{hashed}"
        page = page.replace(f'"{name}"', f'"{names[name]}"')
    raw = page.encode()
    return Site(raw, f'"{_digest(raw)}"', assets)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
