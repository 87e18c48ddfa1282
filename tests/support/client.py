"""A client that keeps its consistency token, as a shop's own would."""

import httpx
from litestar import Litestar

from impact.context import RequestContext
from impact.engine.db.consistency import format_token, parse_token
from support.caching import stored

_HEADER = "x-consistency-token"


class PatientClient(httpx.AsyncClient):
    """Sends the newest token it was given, so that it reads what it wrote (P2). A request that
    names a token itself keeps it. The next request comes when what the last one read is cached."""

    def __init__(self, app: Litestar) -> None:
        super().__init__(
            transport=httpx.ASGITransport(app),
            base_url="http://impact.test",
            event_hooks={"request": [self._send_along], "response": [self._remember]},
        )
        self._app = app
        self._newest = (0, 0)

    def see(self, context: RequestContext) -> None:
        """From here on it knows what was written under this context too."""
        self._newest = max(self._newest, (context.token, context.raised_at))

    async def _remember(self, response: httpx.Response) -> None:
        self._newest = max(self._newest, parse_token(response.headers.get(_HEADER, "0")))
        if "runtime" in self._app.state:
            await stored(self._app.state.runtime.cache)

    async def _send_along(self, request: httpx.Request) -> None:
        if self._newest[0] and _HEADER not in request.headers:
            request.headers[_HEADER] = format_token(*self._newest)
