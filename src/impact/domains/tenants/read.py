"""The register of tenants."""

from impact.domains.tenants.schemas import TenantOut
from impact.engine.db.readmodel import ReadModel, json_object

tenants = ReadModel(
    "tenants.tenant",
    "tenant t",
    json_object(TenantOut, "t"),
    # As row-level security has it: the own row, and the whole register for headquarters.
    scope="(t.id = :tenant_id OR :tenant_id = 'hq')",
    read_key=str,
    sorts={
        "created_at": "t.created_at",
        "updated_at": "t.updated_at",
        "name": "t.name",
        "id": "t.id",
    },
    filters={
        "q": "(lower(t.name) LIKE lower(:q) OR t.id LIKE lower(:q))",
        "status": "t.status = ANY(:status)",
    },
    noun="Tenant",
)
