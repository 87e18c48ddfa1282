"""A client that keeps its consistency token, as a shop's own would."""

import httpx
from litestar import Litestar

_HEADER = "x-consistency-token"


def patient_client(app: Litestar) -> httpx.AsyncClient:
    """Sends the newest token it was given, so that it reads what it wrote (P2). A request that
    names a token itself keeps it."""
    newest = 0

    async def remember(response: httpx.Response) -> None:
        nonlocal newest
        newest = max(newest, int(response.headers.get(_HEADER, "0"), 16))

    async def send_along(request: httpx.Request) -> None:
        if newest and _HEADER not in request.headers:
            request.headers[_HEADER] = f"{newest:X}"

    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://impact.test",
        event_hooks={"request": [send_along], "response": [remember]},
    )
