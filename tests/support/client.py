"""A client that keeps its consistency token, as a shop's own would."""

import httpx
from litestar import Litestar

from impact.engine.db.consistency import format_token, parse_token

_HEADER = "x-consistency-token"


class PatientClient(httpx.AsyncClient):
    """Sends the newest token it was given, so that it reads what it wrote (P2). A request that
    names a token itself keeps it."""

    def __init__(self, app: Litestar) -> None:
        super().__init__(
            transport=httpx.ASGITransport(app),
            base_url="http://impact.test",
            event_hooks={"request": [self._send_along], "response": [self._remember]},
        )
        self._position = self._raised_at = 0

    def saw(self, position: int, raised_at: int) -> None:
        """Take note of a write that went past this client."""
        self._position = max(self._position, position)
        self._raised_at = max(self._raised_at, raised_at)

    async def _remember(self, response: httpx.Response) -> None:
        if _HEADER in response.headers:
            self.saw(*parse_token(response.headers[_HEADER]))

    async def _send_along(self, request: httpx.Request) -> None:
        if self._position and _HEADER not in request.headers:
            request.headers[_HEADER] = format_token(self._position, self._raised_at)


def patient_client(app: Litestar) -> PatientClient:
    return PatientClient(app)
