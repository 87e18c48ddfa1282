"""Permissions: ``resource:action``, held by roles, compiled to a set, checked in a look-up."""

import re
from collections.abc import Iterable
from typing import Any

PERMISSION_KEY = "permission"
PUBLIC = "public"
"""The mark of a route that needs no permission of its own; its audience still has rules."""

PERMISSION_PATTERN = r"^(\*|[a-z]+(-[a-z]+)*):(\*|[a-z]+(-[a-z]+)*)$(?!\n)"
_PERMISSION = re.compile(PERMISSION_PATTERN)


def is_permission(text: str) -> bool:
    """Whether ``text`` is of the form ``resource:action``; either part may be ``*``."""
    return _PERMISSION.match(text) is not None


def requires(permission: str) -> dict[str, Any]:
    """A route's mark: ``@get(opt=requires("product:read"))``."""
    if not is_permission(permission) or "*" in permission:
        raise ValueError(f"{permission!r} is not a permission")
    return {PERMISSION_KEY: permission}


def public() -> dict[str, Any]:
    """A route's mark that it is open to everyone whom its audience's guard lets in."""
    return {PERMISSION_KEY: PUBLIC}


class PermissionSet:
    """What one actor may do.

    Wildcards are resolved when the set is made, so a check is at most four set look-ups.
    """

    __slots__ = ("_actions", "_all", "_exact", "_resources", "granted")

    def __init__(self, granted: Iterable[str]) -> None:
        self.granted = frozenset(granted)
        self._exact = self.granted
        self._all = "*:*" in self.granted
        self._resources = frozenset(p[:-2] for p in self.granted if p.endswith(":*"))
        self._actions = frozenset(p[2:] for p in self.granted if p.startswith("*:"))

    def allows(self, permission: str) -> bool:
        """Whether all that the permission names is granted.

        One with a wildcard is covered by an equal or a wider wildcard alone.
        """
        if self._all or permission in self._exact:
            return True
        resource, _, action = permission.partition(":")
        return resource in self._resources or action in self._actions

    def check(self, permissions: Iterable[str]) -> dict[str, bool]:
        """Many checks at once."""
        return {permission: self.allows(permission) for permission in permissions}
