"""The last hand on an answer: Impact's own headers, 304 for who has it already, and packing."""

import re
from typing import Any, Protocol

from litestar.types import Message, Send

from impact.context import RequestContext
from impact.engine.db.consistency import format_token
from impact.engine.http.conditions import names_content
from impact.engine.http.cors import of_origin
from impact.engine.http.encodings import WORTH_PACKING, packed_bytes

Headers = list[tuple[bytes, bytes]]
_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""What is no page of ours loads nothing, whatever somebody makes a browser take it for."""
_NO_STORE = (b"cache-control", b"no-store")
_VARY = (b"vary", b"accept-encoding")
_TEXT = re.compile(rb"text/|[\w.+/-]*\b(?:json|xml)\b")
"""Media types that are worth packing."""


class Finish(Protocol):
    """Who is told what became of the request."""

    status: int

    def count(self) -> None: ...


def of_request(context: RequestContext) -> Headers:
    """The headers that are of one request and no other."""
    headers = [(b"x-request-id", context.request_id.encode())]
    if context.trace is not None:
        headers.append((b"traceresponse", context.trace.traceparent.encode()))
    if context.wrote and context.token:
        token = format_token(context.token, context.raised_at).encode()
        headers.append((b"x-consistency-token", token))
    if context.origin:
        headers += of_origin(context)
    if context.charged is not None:
        headers += context.charged.headers()
    return headers


class Responder:
    """Passes a response on, or discards one that another try replaces.

    The start of a response whose length is known waits for its body: only then is it known
    whether the client has it already, and how long it is when packed. A stream passes as it is.
    """

    def __init__(
        self, context: RequestContext, send: Send, finish: Finish, *, head: bool, last: bool
    ) -> None:
        self._context = context
        self._finish = finish
        self._send = send
        self._head = head
        self._last = last
        self._lost_before = len(context.lost_nodes)
        self._start: Any = None
        self.discarded = False
        self.headers: Headers = []
        """What was sent, without the headers of the one request."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            lost = len(self._context.lost_nodes) > self._lost_before
            if message["status"] == 503 and lost and not self._last:
                self.discarded = True
                return
            headers = list(message.get("headers", []))
            self._start = {**message, "headers": headers}
            names = {name for name, _ in headers}
            if b"cache-control" not in names:
                headers.append(_NO_STORE)
            if b"content-security-policy" not in names:
                headers.append(_NO_PAGE)
            headers += _SECURITY
            if b"content-length" not in names:
                await self._begin()
        elif message["type"] == "http.response.body":
            if self.discarded:
                return
            body = message.get("body", b"")
            if self._start is not None:
                if not message.get("more_body", False):
                    body = await self._finished(body)
                await self._begin()
            # At the first part of a stream: how long somebody watches is no time that we took.
            self._finish.count()
            sent: Any = {**message, "body": b"" if self._head else body}
            await self._send(sent)
        elif not self.discarded:
            await self._send(message)

    async def _begin(self) -> None:
        start, self._start = self._start, None
        self._finish.status = start["status"]
        self.headers = start["headers"]
        start["headers"] = [*self.headers, *of_request(self._context)]
        await self._send(start)

    async def _finished(self, body: bytes) -> bytes:
        """The body as it goes out; the start is made to fit."""
        start, context = self._start, self._context
        fields = dict(start["headers"])
        if _TEXT.match(fields.get(b"content-type", b"")) is None:
            return body
        coding = ""
        if b"content-encoding" not in fields and len(body) >= WORTH_PACKING:
            _vary(start["headers"])
            coding = context.coding
        etag = fields.get(b"etag")
        if etag is not None and start["status"] == 200:
            if coding:
                etag = etag[:-1] + b"-" + coding.encode() + b'"'
                _replace(start["headers"], b"etag", etag)
            if _has_it(context, etag):
                start["status"] = 304
                start["headers"] = [
                    each for each in start["headers"] if not each[0].startswith(b"content-")
                ]
                return b""
        if coding:
            body = await packed_bytes(body, coding)
            _replace(start["headers"], b"content-length", str(len(body)).encode())
            start["headers"].append((b"content-encoding", coding.encode()))
        return body


def _has_it(context: RequestContext, etag: bytes) -> bool:
    condition = context.if_none_match
    if condition is None or context.wrote:
        return False
    content, _, coding = etag.decode("latin-1").strip('"').rpartition(".")[2].partition("-")
    return names_content(condition, content, coding)


def _vary(headers: Headers) -> None:
    for place, (name, value) in enumerate(headers):
        if name == b"vary":
            if b"accept-encoding" not in value:
                headers[place] = (name, value + b", accept-encoding")
            return
    headers.append(_VARY)


def _replace(headers: Headers, name: bytes, value: bytes) -> None:
    for place, (found, _) in enumerate(headers):
        if found == name:
            headers[place] = (name, value)
