"""The customers' write side."""

from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import selectinload

from impact.domains.customers.models import Customer
from impact.engine.db.repository import Repository

# Not by lower(email) itself: row-level security keeps its index from us (migration 0008).
_OF_EMAIL = "customer.id = ANY(ARRAY(SELECT customer_ids_by_email(:email)))"


class CustomerRepository(Repository[Customer]):
    model = Customer
    noun = "Customer"
    eager = (selectinload(Customer.addresses),)

    async def is_taken(self, email: str, *, has_account: bool, but: UUID | None = None) -> bool:
        """Whether a customer of this kind, other than ``but``, has the e-mail."""
        query = select(Customer.id).where(
            text(_OF_EMAIL).bindparams(email=[email.lower()]), Customer.has_account == has_account
        )
        if but is not None:
            query = query.where(Customer.id != but)
        return await self.session.scalar(query.limit(1)) is not None
