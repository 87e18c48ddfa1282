"""/metrics: the figures of all worker processes, for Prometheus and for people.

They name shops and show how busy each is, so not everybody may read them: who shows the token of
``IMPACT_METRICS_TOKEN``, or without one whoever asks from this machine and through no proxy.
"""

import asyncio
import hmac
import ipaddress
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get

from impact.engine.http.accept import preferred
from impact.engine.http.contract import produces
from impact.engine.http.dependencies import Engine
from impact.engine.security.permissions import public
from impact.engine.telemetry.exposition import PROMETHEUS, as_json, prometheus_text
from impact.errors import ForbiddenError, UnauthorizedError

_FORMS = {
    "application/json": "json",
    "text/plain": "text",
    "application/openmetrics-text": "text",
}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Metrics(Controller):
    path = "/metrics"
    tags = ("Operations",)

    @get(opt=public() | produces(PROMETHEUS, "application/json"), media_type="text/plain")
    async def metrics(self, request: Request[Any, Any, Any], runtime: Engine) -> Response[bytes]:
        """Totals since the server started and quantiles of late, of all worker processes.

        Prometheus text, or JSON for who accepts ``application/json`` first.
        """
        _admit(request, runtime.settings.metrics_token)
        telemetry = runtime.telemetry
        # Reading other workers' files and adding up takes milliseconds that no request waits for.
        if preferred(request.headers.get("accept", ""), _FORMS) == "json":
            body = await asyncio.to_thread(lambda: msgspec.json.encode(as_json(telemetry.total())))
            return Response(body, media_type="application/json")
        body = await asyncio.to_thread(lambda: prometheus_text(telemetry.total()))
        return Response(body, media_type=PROMETHEUS)


def _admit(request: Request[Any, Any, Any], token: str | None) -> None:
    if token is not None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode(), token.encode()
        ):
            raise UnauthorizedError("send the token of IMPACT_METRICS_TOKEN: Authorization: Bearer")
        return
    client = request.scope.get("client")
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    through_a_proxy = any(name in request.headers for name in _FORWARDED)
    if client is None or through_a_proxy or not (_is_here(client[0]) and _is_here(host)):
        raise ForbiddenError(
            "only this machine may read /metrics; set IMPACT_METRICS_TOKEN and send it to read"
            " them from elsewhere"
        )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
