"""The load generator's HTTP client: aiohttp, kept thin, so that it is not what is measured."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

from impact.errors import ImpactError
from impact.loadtest.scenarios.recording import Recording

T = TypeVar("T")

_TOKEN = "x-consistency-token"  # noqa: S105 - a header's name
_GOOD = range(200, 300)


class CannotRunError(ImpactError):
    """There is nothing to measure: no server, or one that does not let the load in."""

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        """``answered`` is the status, where there was an answer."""
        super().__init__(message)
        self.answered = answered


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""


class Client:
    """Requests to one server. What is asked outside of a visit is not recorded."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> bytes:
        """The answer's body. Raises CannotRunError for one that is no success."""
        try:
            async with self.session.request(
                method, self.base + path, headers=headers, data=_encoded(body)
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotRunError(
                f"no server answers at {self.base} ({_name(error)}); start one with 'make run' or"
                " 'impact dev', or say where it is with --url"
            ) from error
        if response.status not in _GOOD:
            problem = _problem(answer)
            raise CannotRunError(
                f"{method} {self.base}{path} answered {response.status} {problem.code}:"
                f" {problem.detail or answer[:200].decode(errors='replace')}",
                answered=response.status,
            )
        return answer


class Visit:
    """One arrival: its requests follow each other. The first one is due when the visit is.

    It sends back the consistency token that its last write was given, as a browser does that uses
    Impact's API as it is described.
    """

    __slots__ = ("_client", "_due", "_recording", "_token", "number")

    def __init__(
        self, client: Client, recording: Recording, number: int, due: float | None
    ) -> None:
        self.number = number
        self._client = client
        self._recording = recording
        self._due = due
        self._token: str | None = None

    async def call(
        self, kind: str, method: str, path: str, headers: Mapping[str, str], body: Any = None
    ) -> bytes | None:
        """Send a request and record it; the answer's body, or None for what is no success."""
        if self._token is not None:
            headers = {**headers, _TOKEN: self._token}
        data = _encoded(body)
        sent = time.perf_counter()
        due, self._due = sent if self._due is None else self._due, None
        answer = failure = None
        try:
            async with self._client.session.request(
                method, self._client.base + path, headers=headers, data=data
            ) as response:
                answer = await response.read()
            self._token = response.headers.get(_TOKEN, self._token)
            if response.status not in _GOOD:
                failure = f"{response.status} {_problem(answer).code}".strip()
                answer = None
        except (aiohttp.ClientError, TimeoutError) as error:
            failure = _name(error)
        self._recording.add(kind, due, sent, time.perf_counter(), failure)
        return answer


@contextlib.asynccontextmanager
async def opened(base: str, *, connections: int, timeout: float) -> AsyncIterator[Client]:
    """A client of that many connections at most; a request ends after ``timeout`` seconds."""
    connector = aiohttp.TCPConnector(limit=connections)
    headers = {"content-type": "application/json", "user-agent": "impact-loadtest"}
    async with aiohttp.ClientSession(
        connector=connector,
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=timeout),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Client(session, base.rstrip("/"))


def decoded(answer: bytes, kind: type[T]) -> T:
    """An answer's body. Raises CannotRunError for one that is none of Impact's."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise CannotRunError(
            f"the server does not answer as Impact does ({error}); is it another one?"
        ) from error


def _encoded(body: Any) -> bytes | None:
    return None if body is None else msgspec.json.encode(body)


def _problem(answer: bytes) -> _Problem:
    try:
        return msgspec.json.decode(answer, type=_Problem)
    except msgspec.MsgspecError:
        return _Problem()


def _name(error: BaseException) -> str:
    return "timed out" if isinstance(error, TimeoutError) else type(error).__name__
