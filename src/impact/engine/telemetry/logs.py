"""Logs that say which request and trace they belong to, as text or JSON, and to a collector."""

import json
import logging
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

from impact.context import RequestContext

request: ContextVar[RequestContext | None] = ContextVar("impact_request", default=None)
"""The request that the running task serves."""
_STANDARD = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", None, None)) | {"message": 0, "asctime": 0}
)
_NOT_OURS = ("opentelemetry", "urllib3", "grpc", "impact.engine.telemetry.outbox")
"""Loggers that speak of sending itself: sending their words could go on for ever."""


def configure(level: str, form: str) -> None:
    """Give the root logger its one handler, in ``text`` or ``json``."""
    formatter = _Json() if form == "json" else _Text()
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
        root.setLevel(level.upper())
    for handler in root.handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(formatter)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _belongs_to(record: logging.LogRecord) -> dict[str, str]:
    context = request.get()
    if context is None:
        return {}
    found = {"request_id": context.request_id, "tenant": context.tenant}
    if context.trace is not None:
        found["trace_id"] = context.trace.hex
        found["span_id"] = f"{context.trace.span_id:016x}"
    return found


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base's name
        text = super().formatMessage(record)
        fields = {**_extra(record), **_belongs_to(record)}
        if not fields:
            return text
        return text + " " + " ".join(f"{name}={_word(value)}" for name, value in fields.items())


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if text and " " not in text else json.dumps(text)


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_belongs_to(record),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


class Forwarded(NamedTuple):
    """A log record on its way to a collector."""

    at: int
    level: int
    level_name: str
    message: str
    trace_id: int
    span_id: int
    sampled: bool
    attributes: dict[str, Any]


class LogForwarder(logging.Handler):
    """Hands what is logged to ``put``; a context manager for as long as that should be."""

    def __init__(self, put: Callable[[Forwarded], None]) -> None:
        super().__init__()
        self._put = put

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(_NOT_OURS):
            return
        context = request.get()
        trace = context.trace if context is not None else None
        attributes = {f"impact.{name}": _plain(value) for name, value in _extra(record).items()}
        attributes["impact.logger"] = record.name
        if context is not None:
            attributes["impact.request_id"] = context.request_id
            attributes["impact.tenant"] = context.tenant
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            attributes["exception.type"] = type(error).__name__
            attributes["exception.message"] = str(error)
            attributes["exception.stacktrace"] = "".join(traceback.format_exception(error))
        self._put(
            Forwarded(
                int(record.created * 1e9),
                record.levelno,
                record.levelname,
                record.getMessage(),
                trace.trace_id if trace else 0,
                trace.span_id if trace else 0,
                trace.sampled if trace else False,
                attributes,
            )
        )


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, default=str)
