"""Health: alive, and ready to serve."""

import os

from litestar import Controller, Response, get

from impact.engine.http.dependencies import Engine
from impact.engine.http.limits import counted_as
from impact.engine.schemas import Output
from impact.engine.security.permissions import public
from impact.errors import UnavailableError


class NodeHealth(Output):
    name: str
    role: str
    usable: bool
    lag_seconds: float | None


class Readiness(Output):
    status: str
    worker: int
    """Process id of the worker that answers."""
    nodes: list[NodeHealth]
    unready: list[str]
    """Parts that are away: nodes by name, and ``redis``. Without one of them it is slower, and
    ready."""


class Health(Controller):
    path = "/health"
    tags = ("Operations",)
    opt = counted_as("free")

    @get(opt=public())
    async def health(self) -> str:
        return "OK"

    @get("/live", opt=public())
    async def live(self) -> dict[str, str]:
        """The process runs and its event loop turns."""
        return {"status": "ok"}

    @get("/ready", opt=public())
    async def ready(self, runtime: Engine) -> Response[Readiness]:
        """Whether this process can serve. A lost replica slows it and leaves it ready;
        without a primary it is ``read-only`` and refuses writes one by one. ``stopping`` says that
        it serves on for a moment, and that nothing more should be sent."""
        nodes = [
            NodeHealth(
                name=node.name,
                role="primary" if node.primary else "replica",
                usable=node.usable,
                lag_seconds=round(node.lag, 3) if node.lag != float("inf") else None,
            )
            for node in runtime.database.nodes.nodes
        ]
        status = "ready"
        try:
            runtime.database.nodes.primary()
        except UnavailableError:
            # Reads go on without a primary, so this process still has work to do.
            status = "read-only" if any(node.usable for node in nodes) else "no database"
        unready = [node.name for node in nodes if not node.usable]
        remote = runtime.cache.versions.remote
        if remote is not None and not remote.available:
            unready.append("redis")
        if runtime.closing.is_set():
            status = "stopping"
        refused = status in {"no database", "stopping"}
        return Response(
            Readiness(status=status, worker=os.getpid(), nodes=nodes, unready=unready),
            status_code=503 if refused else 200,
            headers={"retry-after": "1"} if refused else {},
        )
