"""The customers' read models."""

from impact.domains.customers.schemas import AddressOut, CustomerOut
from impact.engine.db.readmodel import ReadModel, json_list, json_object

ADDRESS = json_object(AddressOut, "a")

customers = ReadModel(
    "customers.customer",
    "customer c",
    json_object(
        CustomerOut,
        "c",
        addresses=json_list(
            ADDRESS,
            "address a",
            where="a.tenant_id = c.tenant_id AND a.customer_id = c.id",
            order="a.created_at, a.id",
        ),
    ),
    sorts={
        "created_at": "c.created_at",
        "updated_at": "c.updated_at",
        "email": "coalesce(lower(c.email), '')",
        "id": "c.id",
    },
    filters={
        "q": "lower(coalesce(c.email, '') || ' ' || coalesce(c.first_name, '') || ' '"
        " || coalesce(c.last_name, '') || ' ' || coalesce(c.company_name, '')) LIKE lower(:q)",
        "email": "c.id = ANY(ARRAY(SELECT customer_ids_by_email(:email)))",
        "has_account": "c.has_account = :has_account",
    },
    noun="Customer",
)
addresses = ReadModel(
    "customers.address",
    "address a",
    ADDRESS,
    sorts={"created_at": "a.created_at", "updated_at": "a.updated_at", "id": "a.id"},
    always="a.customer_id = :customer_id",
    noun="Address",
)
"""The addresses of one customer: every read names whose."""
