"""Fixtures: one migrated database a session, the application on it, and fresh shops."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from litestar import Litestar

from impact.app import create_app
from impact.context import HEADQUARTERS, Actor, ActorKind, RequestContext, system_context
from impact.domains.identity.bootstrap import bootstrap
from impact.domains.identity.models import AdminUser, Role, RoleAssignment
from impact.domains.identity.service import policies
from impact.domains.tenants.service import open_tenant
from impact.engine.db.base import new_id
from impact.engine.runtime import Runtime, open_runtime
from impact.settings import Settings

SERVER = os.environ.get("IMPACT_TEST_SERVER", "127.0.0.1:5544")


@dataclass
class Shop:
    runtime: Runtime
    tenant: str
    owner_id: UUID
    admin: dict[str, str]
    store: dict[str, str]

    def context(self) -> RequestContext:
        return system_context(self.tenant, "test")

    async def user(self, *permissions: str) -> dict[str, str]:
        """The headers of a new user who holds just these permissions."""
        async with self.runtime.database.write(self.context()) as session:
            role = Role(id=new_id(), name=uuid4().hex, policies=policies(permissions))
            user = AdminUser(
                id=new_id(), email=f"{uuid4().hex}@{self.tenant}.test", password_hash="none"
            )
            session.add(role, user)
            await session.flush()
            session.add(RoleAssignment(user_id=user.id, role_id=role.id))
        return headers(self.runtime, self.tenant, user.id)


def headers(runtime: Runtime, tenant: str, user_id: UUID) -> dict[str, str]:
    token = runtime.tokens.issue(Actor(ActorKind.USER, tenant, user_id))
    return {"authorization": f"Bearer {token}"}


async def _open(runtime: Runtime, tenant: str) -> Shop:
    async with runtime.database.write(system_context(HEADQUARTERS, "test")) as session:
        await open_tenant(session, tenant, tenant.title(), "eur")
    async with runtime.database.write(system_context(tenant, "test")) as session:
        made = await bootstrap(
            session,
            email=f"owner@{tenant}.test",
            password_hash=await runtime.passwords.hash("correct horse"),
        )
    return Shop(
        runtime,
        tenant,
        made.owner_id,
        headers(runtime, tenant, made.owner_id),
        {"x-publishable-api-key": made.publishable_token},
    )


@pytest.fixture(scope="session")
async def app() -> AsyncIterator[Litestar]:
    database = f"impact_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(f"postgresql://postgres@{SERVER}/postgres")
    await admin.execute(f"CREATE DATABASE {database} OWNER impact_owner")
    subprocess.run(  # noqa: ASYNC221
        [str(Path(sys.executable).with_name("alembic")), "upgrade", "head"],
        check=True,
        env={**os.environ, "IMPACT_OWNER_URL": f"postgresql://impact_owner@{SERVER}/{database}"},
        cwd=Path(__file__).parent.parent,
    )
    settings = Settings(
        primary_url=f"postgresql://impact_app@{SERVER}/{database}",
        signing_keys="test:" + "k" * 40,
        password_memory_kib=8,
        password_time_cost=1,
    )
    app = create_app(settings)
    try:
        # What the application's own lifespan does, without its task group: a fixture is set up
        # and torn down in different tasks.
        async with open_runtime(settings) as runtime:
            app.state.runtime = runtime
            yield app
    finally:
        await admin.execute(f"DROP DATABASE {database} WITH (FORCE)")
        await admin.close()


@pytest.fixture(scope="session")
async def client(app: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://impact.test") as client:
        yield client


@pytest.fixture(scope="session")
async def _hq(app: Litestar) -> Shop:
    return await _open(app.state.runtime, HEADQUARTERS)


@pytest.fixture
def hq(_hq: Shop) -> dict[str, str]:
    return _hq.admin


@pytest.fixture
async def shop(app: Litestar, _hq: Any) -> Shop:
    return await _open(app.state.runtime, f"shop-{uuid4().hex[:10]}")


@pytest.fixture
async def other_shop(app: Litestar, _hq: Any) -> Shop:
    return await _open(app.state.runtime, f"shop-{uuid4().hex[:10]}")
