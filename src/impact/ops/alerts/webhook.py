"""Alerts to a webhook: signed, tried again, and never in anybody's way.

The signature is that of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over id, time and
body, so that the receiver knows who sent it, and that it is neither altered nor sent again.
"""

import asyncio
import base64
import hashlib
import hmac
import http.client
import logging
import time
import urllib.error
import urllib.request
import uuid
from typing import NamedTuple

import msgspec

from impact.engine.tasks import end, kept_up
from impact.ops.alerts.state import Alert

logger = logging.getLogger(__name__)

_MOST_WAITING = 100
_TRIES = 6
_TIMEOUT = 5.0
_LAST_CHANCE = 2.0


class Message(NamedTuple):
    id: str
    body: bytes


class Webhook:
    """``async with``: a task sends what is put. ``first_pause`` in seconds doubles with each
    try."""

    def __init__(self, url: str, secret: str, first_pause: float = 1.0) -> None:
        self._url, self._secret = url, secret.encode()
        self._first_pause = first_pause
        self._queue: asyncio.Queue[Message] = asyncio.Queue(_MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Webhook":
        self._task = asyncio.create_task(kept_up(self._run, "sending alerts"))
        return self

    async def __aexit__(self, *_: object) -> None:
        # What is on its way gets a moment, no more: shutdown does not wait for a webhook.
        try:
            async with asyncio.timeout(_LAST_CHANCE):
                await self._queue.join()
        except TimeoutError:
            logger.warning("%d alerts were not sent to the webhook", self._queue.qsize())
        if self._task is not None:
            await end([self._task])

    async def send_now(self, alert: Alert) -> str | None:
        """Send one at once, and once; what went wrong, or None."""
        return await asyncio.to_thread(self._send, _message(alert))

    def put(self, alert: Alert) -> None:
        try:
            self._queue.put_nowait(_message(alert))
        except asyncio.QueueFull:
            logger.warning("the alert %s is not sent: the webhook does not keep up", alert.rule)

    async def _run(self) -> None:
        while True:
            message = await self._queue.get()
            try:
                await self._deliver(message)
            finally:
                self._queue.task_done()

    async def _deliver(self, message: Message) -> None:
        pause = self._first_pause
        for number in range(_TRIES):
            problem = await asyncio.to_thread(self._send, message)
            if problem is None:
                return
            if number + 1 < _TRIES:
                await asyncio.sleep(pause)
                pause *= 2
        logger.warning("an alert did not reach the webhook after %d tries: %s", _TRIES, problem)

    def _send(self, message: Message) -> str | None:
        """What went wrong, or None."""
        request = urllib.request.Request(  # noqa: S310 - settings allow http and https alone
            self._url, message.body, headers=signed(message, self._secret, int(time.time()))
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                answer.read(1024)
        except urllib.error.URLError as error:
            # Not the URL, which may hold a secret of the receiver's.
            return str(error.reason)
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return None


def _message(alert: Alert) -> Message:
    state = "resolved" if alert.resolved is not None else "firing"
    body = msgspec.json.encode({"type": f"alert.{state}", "data": alert})
    return Message(f"msg_{uuid.uuid4().hex}", body)


def signed(message: Message, secret: bytes, timestamp: int) -> dict[str, str]:
    """The headers of a message: what it is, and the proof."""
    content = f"{message.id}.{timestamp}.".encode() + message.body
    proof = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    return {
        "content-type": "application/json",
        "user-agent": "impact",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{proof}",
    }
