"""Checking that a response has the shape its route declares."""

from typing import Any, TypeVar

import httpx
import msgspec

T = TypeVar("T")


def shaped(response: httpx.Response, kind: type[T]) -> T:
    """The answer as the declared struct: every field of its type, none missing, none more."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answer = msgspec.json.decode(response.content, type=kind)
    assert _names(response.json()) == _names(msgspec.to_builtins(answer))
    return answer


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _names(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_names(each) for each in value]
    return None


def refused(response: httpx.Response, status: int, *, place: str | None = None) -> str:
    """The message of a refusal; ``place`` is the first problem's pointer or parameter."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    answer = response.json()
    if place is not None:
        first = answer["errors"][0]
        assert first.get("pointer", first.get("parameter")) == place
    message: str = answer["message"]
    return message
