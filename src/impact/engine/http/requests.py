"""Reading a request's body: in time, within its bound, as strictly typed JSON."""

import asyncio
import itertools
from typing import Any, NoReturn

import msgspec
from litestar import Request
from litestar.types import Empty

from impact.engine.http.body_problems import body_problems, with_whole_numbers
from impact.engine.http.contract import Contract, contract_of
from impact.engine.http.parameters import (
    MOST_PROBLEMS,
    invalid,
    query_problems,
    type_problems,
)
from impact.errors import (
    BodyTooLargeError,
    InvalidDataError,
    MediaTypeError,
    Problem,
    RequestTimeoutError,
)
from impact.settings import Settings


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body is JSON of its route's declared type.

    The body becomes that type in one pass and strictly: ``"2"`` is no number, an unknown field no
    silence. Of a name that stands there twice the last counts, as in PostgreSQL's jsonb.
    """

    async def body(self) -> bytes:
        """The body's bytes, read once.

        Raises BodyTooLargeError, RequestTimeoutError, and MediaTypeError for what is not JSON.
        """
        if self._body is Empty:
            settings: Settings = self.app.state.runtime.settings
            try:
                async with asyncio.timeout(settings.body_timeout):
                    self._body = await self._receive(settings.body_limit)
            except TimeoutError:
                raise RequestTimeoutError(
                    f"the body did not arrive within {settings.body_timeout:g} seconds"
                ) from None
            contract = contract_of(self.route_handler)
            if not self._body and contract is not None and contract.body_required:
                await refuse(self)
        return self._body

    async def json(self) -> Any:
        """The body as its route's type. Raises InvalidDataError with all problems."""
        contract = contract_of(self.route_handler)
        if contract is None or contract.decoder is None:
            return msgspec.json.decode(await self.body())
        try:
            return contract.decoder.decode(await self.body())
        except msgspec.ValidationError:
            return await self._decode_again(contract)
        except (msgspec.DecodeError, InvalidDataError, UnicodeDecodeError, RecursionError):
            await refuse(self)

    async def _decode_again(self, contract: Contract) -> Any:
        try:
            value = with_whole_numbers(msgspec.json.decode(await self.body()), contract.body)
            return msgspec.convert(value, contract.body)
        except (msgspec.DecodeError, InvalidDataError, UnicodeDecodeError, RecursionError):
            await refuse(self)

    async def _receive(self, limit: int) -> bytes:
        announced = self.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise _too_large(limit)
        first, rest = b"", bytearray()
        while True:
            message: Any = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidDataError("the client went away before its body had arrived")
            part: bytes = message.get("body", b"")
            if part and not first:
                self._require_json()
                first = part
            else:
                rest += part
            if len(first) + len(rest) > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return first + rest if rest else first

    def _require_json(self) -> None:
        """A body that does not say what it is counts as JSON."""
        kind, _, options = self.headers.get("content-type", "application/json").partition(";")
        charset = options.lower().replace('"', "").replace(" ", "").removeprefix("charset=")
        if kind.strip().lower() != "application/json" or charset not in {"", "utf-8"}:
            raise MediaTypeError("send the body as content-type: application/json, in UTF-8")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise MediaTypeError("send the body without content-encoding")


async def check_query(request: Request[Any, Any, Any]) -> None:
    """Refuse a query string that its route does not take. Runs before every handler, and costs a
    look at the query string; only a bad request pays for finding everything that is wrong.

    Raises InvalidDataError.
    """
    query = request.scope["query_string"]
    if not query:
        return
    contract = contract_of(request.route_handler)
    if contract is None or query in contract.seen:
        return
    if next(query_problems(query, contract), None) is not None:
        await refuse(request)
    contract.remember(query)


async def refuse(request: Request[Any, Any, Any]) -> NoReturn:
    """Raise InvalidDataError with everything that is wrong with the request."""
    contract = contract_of(request.route_handler)
    body = await request.body() if contract is not None and contract.body is not None else None
    raise invalid(all_problems(request, contract, body))


def all_problems(
    request: Request[Any, Any, Any], contract: Contract | None, body: bytes | None
) -> list[Problem]:
    """The first few dozen problems of query, headers and body; without ``body`` it is left out."""
    if contract is None:
        return []
    found = itertools.chain(
        query_problems(request.scope["query_string"], contract),
        type_problems(request, contract),
        () if body is None else _body_problems(body, contract),
    )
    # One parameter can be wrong in its form and so in its type.
    return list(dict.fromkeys(itertools.islice(found, MOST_PROBLEMS)))


def _body_problems(body: bytes, contract: Contract) -> list[Problem]:
    if not body:
        return [Problem("a JSON body is required", pointer="")] if contract.body_required else []
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        text = str(error).removeprefix("JSON is malformed: ")
        return [Problem(f"the body is not JSON: {text}", pointer="")]
    except UnicodeDecodeError:
        return [Problem("the body is not UTF-8", pointer="")]
    except RecursionError:
        return [Problem("the body is nested too deeply", pointer="")]
    value = with_whole_numbers(value, contract.body)
    return list(itertools.islice(body_problems(value, contract.body), MOST_PROBLEMS))


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is longer than {limit} bytes")
