"""The API does what its description says, and refuses what it does not say.

schemathesis makes requests from the description: its examples, the edges of every bound, random
ones on either side of them, and chains along the links. ``make test`` sends a few of each with a
fixed seed; ``CONTRACT_EXAMPLES=200 CONTRACT_SEED=7 .venv/bin/pytest tests/integration/contract``
goes deeper.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from impact.settings import Settings
from impact.stack import Stack
from support.served import Served, serving
from support.shops import Shop, open_shop

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "3")
SEED = os.environ.get("CONTRACT_SEED", "1")


@pytest.fixture(scope="module")
async def served(stack: Stack, settings: Settings, worker_id: str) -> AsyncIterator[Served]:
    # A token of the future is waited for: it need not be long.
    async with serving(stack, settings, f"contract_{worker_id}", causal_wait=0.001) as found:
        yield found


@pytest.fixture(scope="module")
async def hq(served: Served) -> Shop:
    # The shop of the description's examples.
    await open_shop(served.runtime, None, "paris")
    return await open_shop(served.runtime, None, "hq")


@pytest.mark.parametrize(
    ("audience", "paths"),
    [
        ("admin", "^/admin/(products|variants|collections|product-categories|inventory)"),
        ("admin", "^/admin/(?!products|variants|collections|product-categories|inventory|tenants)"),
        # A caller of its own, whose every token this ends.
        ("store", "^/auth/session"),
        ("store", "^/(store/|auth/(?!session))"),
        ("platform", "^/(health|metrics|ops/(figures|queries)|admin/tenants)"),
    ],
    ids=["goods", "business", "sessions", "store", "platform"],
)
async def test_the_description_is_true(
    served: Served, hq: Shop, tmp_path: Path, audience: str, paths: str
) -> None:
    async with httpx.AsyncClient(base_url=served.base, timeout=30) as client:
        shop = await open_shop(served.runtime, client)
        product = await shop.product(amount=1, stock=10**9)
        variant = product["variants"][0]["id"]
        change = {"manage_inventory": False}
        path = f"/admin/products/{product['id']}/variants/{variant}"
        assert (await client.post(path, headers=shop.admin, json=change)).status_code == 200
        await shop.order(variant)
        headers = {"x-tenant-id": shop.tenant}
        if audience == "store":
            login = {"email": "buyer@x.test", "password": "long enough"}
            register = "/auth/customer/emailpass/register"
            made = await client.post(register, headers=shop.store, json=login)
            headers |= {**shop.store, "Authorization": f"Bearer {made.json()['token']}"}
        else:
            # Staff of headquarters, whom nothing that happens to the shop's users locks out.
            headers["Authorization"] = hq.admin["authorization"]
        if audience == "platform":
            del headers["x-tenant-id"]
    # No link leads to the end of a session.
    phases = "examples,coverage,fuzzing" + ("" if paths.endswith("session") else ",stateful")
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        *("--config-file", HERE / "schemathesis.toml"),
        *("run", f"{served.base}/schema/openapi.json"),
        *("--include-path-regex", paths, "--seed", SEED, "--max-examples", EXAMPLES),
        *("--phases", phases),
        *("--continue-on-failure", "--no-shrink", "--workers", "1", "--warnings", "off"),
        *(part for pair in headers.items() for part in ("--header", ": ".join(pair))),
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(HERE),
            "CONTRACT_VARIANT": variant,
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        # Its report is made to be read whole; pytest would cut it.
        pytest.fail(output.decode()[-50_000:], pytrace=False)
