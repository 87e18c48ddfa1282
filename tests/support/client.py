"""A client that keeps its consistency token, as a shop's own would."""

import httpx
from litestar import Litestar

from impact.engine.db.consistency import format_token, parse_token

_HEADER = "x-consistency-token"


def patient_client(app: Litestar) -> httpx.AsyncClient:
    """Sends the newest token it was given, so that it reads what it wrote (P2). A request that
    names a token itself keeps it."""
    newest = (0, 0)

    async def remember(response: httpx.Response) -> None:
        nonlocal newest
        newest = max(newest, parse_token(response.headers.get(_HEADER, "0")))

    async def send_along(request: httpx.Request) -> None:
        if newest[0] and _HEADER not in request.headers:
            request.headers[_HEADER] = format_token(*newest)

    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://impact.test",
        event_hooks={"request": [send_along], "response": [remember]},
    )
