"""The customers' write side."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from impact.domains.customers.models import Customer
from impact.engine.db.repository import Repository


class CustomerRepository(Repository[Customer]):
    model = Customer
    noun = "Customer"
    eager = (selectinload(Customer.addresses),)

    async def is_taken(self, email: str, *, has_account: bool, but: UUID | None = None) -> bool:
        """Whether a customer of this kind, other than ``but``, has the e-mail."""
        query = select(Customer.id).where(
            func.lower(Customer.email) == email.lower(), Customer.has_account == has_account
        )
        if but is not None:
            query = query.where(Customer.id != but)
        return await self.session.scalar(query.limit(1)) is not None
