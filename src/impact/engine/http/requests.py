"""Reading a request's body: in time, within its bound, as strictly typed JSON."""

import asyncio
import itertools
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from litestar import Request
from litestar.types import Empty

from impact.context import RequestContext
from impact.engine.http.body_problems import body_problems, with_whole_numbers
from impact.engine.http.contract import UNREAD_KEY, Contract, contract_of
from impact.engine.http.parameters import (
    MOST_PROBLEMS,
    invalid,
    query_problems,
    type_problems,
)
from impact.engine.runtime import Runtime
from impact.errors import (
    BodyTooLargeError,
    InvalidDataError,
    MediaTypeError,
    NotFoundError,
    Problem,
    RequestTimeoutError,
)

_NOTHING = (b"", b"{}", b"null")


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
            runtime: Runtime = self.app.state.runtime
            settings = runtime.settings
            try:
                async with asyncio.timeout(settings.body_timeout) as limit:
                    with runtime.bodies.waiting(limit):
                        self._body = await self._receive(settings.body_limit)
            except TimeoutError:
                raise RequestTimeoutError(
                    f"the body did not arrive within {settings.body_timeout:g} seconds, or others"
                    " wait to send theirs"
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


async def check(request: Request[Any, Any, Any]) -> None:
    """Refuse what the route does not take: query parameters, conditions, a body, and ids that are
    written otherwise than we write them. Runs before every handler and costs a few looks; only a
    bad request pays for finding everything that is wrong.

    Raises InvalidDataError, and NotFoundError for an id.
    """
    contract = contract_of(request.route_handler)
    if contract is None:
        return
    ids = [str(each) for each in request.path_params.values() if isinstance(each, UUID)]
    # The router takes a UUID in braces, as a URN and without hyphens for one, too.
    if ids and not set(ids).issubset(request.scope["path"].lower().split("/")):
        raise NotFoundError("there is nothing at this path")
    reads = request.scope["method"] == "GET"
    _check_conditions(request.scope["state"]["context"], contract, reads=reads)
    if not reads and contract.body is None and UNREAD_KEY not in request.route_handler.opt:
        await _refuse_body(request)
    query = request.scope["query_string"]
    if query and query not in contract.seen:
        if next(query_problems(query, contract), None) is not None:
            await refuse(request)
        contract.remember(query)


def _check_conditions(context: RequestContext, contract: Contract, *, reads: bool) -> None:
    """A condition that nobody looks at must not be taken for one that holds."""
    if context.if_match is not None and (reads or not contract.takes_if_match):
        message, name = "this route takes no if-match", "if-match"
    elif context.if_none_match is not None and not reads:
        message, name = "only reads take if-none-match", "if-none-match"
    else:
        return
    raise InvalidDataError(message, problems=[Problem(message, parameter=name)])


async def _refuse_body(request: Request[Any, Any, Any]) -> None:
    """Clients send ``{}`` where they have nothing to say."""
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return
    if (await request.body()).strip() not in _NOTHING:
        message = "this route takes no body"
        raise InvalidDataError(message, problems=[Problem(message, pointer="")])


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
