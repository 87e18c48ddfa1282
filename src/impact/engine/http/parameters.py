"""What is wrong with a request's parameters: unknown names, repeats, bad encoding, wrong types."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request

from impact.engine.http.contract import Contract, Parameter
from impact.errors import InvalidDataError, Problem

MOST_PARAMETERS = 300
"""In one query string: more than the longest list that any route takes."""
MOST_PROBLEMS = 50
"""Told in one answer."""
_MOST_IN_MESSAGE = 5
_MALFORMED = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]")


def query_problems(query: bytes, contract: Contract) -> Iterator[Problem]:
    """What is wrong with a query string apart from its values' types."""
    pairs = [pair for pair in query.split(b"&") if pair]
    if len(pairs) > MOST_PARAMETERS:
        yield Problem(f"there are more than {MOST_PARAMETERS} parameters")
        return
    seen = set()
    for pair in pairs:
        raw, _, value = pair.partition(b"=")
        name = _decode(raw)
        if name is None:
            yield Problem("a parameter's name is not percent-encoded UTF-8")
            continue
        known = contract.query.get(name)
        if known is None and name not in contract.ignored:
            yield Problem(unknown("parameter", name, contract.query_names), parameter=name[:100])
        elif known is not None and name in seen and not known.many:
            yield Problem(f"'{name}' stands there more than once", parameter=name)
        elif (text := _decode(value)) is None:
            yield Problem("the value is not percent-encoded UTF-8", parameter=name)
        elif known is not None and not known.text and text.lower() == "null":
            # To msgspec it is what stands for a parameter that is not there.
            yield Problem("'null' is no value; leave the parameter out", parameter=name)
        elif "\0" in text:
            yield Problem("the value has a NUL character", parameter=name)
        seen.add(name)


def type_problems(request: Request[Any, Any, Any], contract: Contract) -> Iterator[Problem]:
    """Which parameters and headers are not of their declared types."""
    values = _query_values(request.scope["query_string"])
    for each in contract.parameters:
        given: Any
        match each.source:
            case "query":
                found = values.get(each.name)
                given = found if each.many or not found else found[-1]
            case "header":
                given = request.headers.get(each.name)
            case _:
                given = request.path_params.get(each.name)
        if given is None:
            if each.required:
                yield Problem(f"'{each.name}' is required", parameter=each.name)
        elif (problem := _type_problem(each, given)) is not None:
            yield problem


def unknown(what: str, name: str, known: list[str]) -> str:
    """That there is no such name, with the nearest one that there is."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"unknown {what} '{name[:100]}'" + (f"; did you mean '{near[0]}'?" if near else "")


def invalid(problems: list[Problem]) -> InvalidDataError:
    """One answer with all problems. Its message names the first few."""
    places = []
    for problem in problems[:_MOST_IN_MESSAGE]:
        place = problem.pointer or problem.parameter
        places.append(f"{problem.message} at {place}" if place else problem.message)
    if len(problems) > _MOST_IN_MESSAGE:
        places.append(f"and {len(problems) - _MOST_IN_MESSAGE} more")
    return InvalidDataError(f"Invalid request: {'; '.join(places)}", problems=problems)


def _type_problem(parameter: Parameter, given: Any) -> Problem | None:
    try:
        msgspec.convert(given, parameter.kind, strict=False)
    except msgspec.ValidationError as error:
        return Problem(str(error).partition(" - at `")[0], parameter=parameter.name)
    return None


def _query_values(query: bytes) -> Mapping[str, list[str]]:
    values: dict[str, list[str]] = {}
    for pair in query.split(b"&")[:MOST_PARAMETERS]:
        raw, _, value = pair.partition(b"=")
        name, text = _decode(raw), _decode(value)
        if name is not None and text is not None:
            values.setdefault(name, []).append(text)
    return values


def _decode(raw: bytes) -> str | None:
    if _MALFORMED.search(raw):
        return None
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None
