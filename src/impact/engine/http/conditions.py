"""Entity tags and the conditions that name them (RFC 9110, 8.8.3 and 13).

A tag is ``"version.content-coding"``: *content* is a digest of the body, *version* one of the
cache's versions under which it was loaded, and *coding* how it is packed. The content makes the
tag strong. The version is what lets a request be answered with 304 before anything is loaded: it
is the same for as long as nothing has changed. An answer that is not cached has no version.
"""

import re

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_LONGEST = 4096


def make_etag(version: str, content: str, coding: str = "") -> str:
    name = f"{version}.{content}" if version else content
    return f'"{name}-{coding}"' if coding else f'"{name}"'


def _parts(condition: str) -> list[tuple[str, str, str]]:
    """Version, content and coding of each tag that the header names."""
    found = []
    for name in _TAG.findall(condition[:_LONGEST]):
        rest, _, coding = name.partition("-")
        version, _, content = rest.rpartition(".")
        found.append((version, content, coding))
    return found


def names_content(condition: str, content: str, coding: str) -> bool:
    """Whether ``if-none-match`` names this body, in this coding or unpacked."""
    if condition.strip() == "*":
        return True
    return any(c == content and k in {"", coding} for _, c, k in _parts(condition))


def names_version(condition: str, version: str, coding: str) -> str | None:
    """The tag of ``if-none-match`` that was given under this version of the cache, if one was.

    Unpacked ones count whatever the client takes: whether the body is worth packing is not known
    before it is loaded.
    """
    for v, content, k in _parts(condition):
        if v == version and k in {"", coding}:
            return make_etag(version, content, k)
    return None


def is_match(condition: str, content: str) -> bool:
    """Whether ``if-match`` names the entity as it is, however it was packed.

    A weak tag never matches (RFC 9110, 13.1.1).
    """
    if condition.strip() == "*":
        return True
    strong = re.sub(r'W/"[^"]*"', "", condition[:_LONGEST])
    return any(c == content for _, c, _ in _parts(strong))
