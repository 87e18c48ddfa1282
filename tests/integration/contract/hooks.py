"""What schemathesis cannot know of single values, and why. It loads this file itself."""

import os
import secrets
from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # Only the service can give a cursor: it is signed.
    (case.query or {}).pop("cursor", None)
    # Nor can anybody else know the tag of a thing.
    (case.headers or {}).pop("if-match", None)
    if "idempotency-key" in (case.headers or {}):
        # One that was used before answers 422 to another request, as it must.
        case.headers["idempotency-key"] = secrets.token_hex(8)
    # What is ordered must be for sale, or no order is ever placed.
    _set_variants(case.body, os.environ["CONTRACT_VARIANT"])


def _set_variants(body: Any, variant: str) -> None:
    if isinstance(body, dict):
        if isinstance(body.get("variant_id"), str):
            body["variant_id"] = variant
        for part in body.values():
            _set_variants(part, variant)
    elif isinstance(body, list):
        for part in body:
            _set_variants(part, variant)
