"""The routes of storefronts for customers: registering, and their own data alone.

The customer is always the one whom the token names, never one named in the request. A token
outlives the customer it was given to, so each route looks whether there still is one.
"""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from impact.context import Actor, ActorKind, RequestContext
from impact.domains.customers import read
from impact.domains.customers.schemas import (
    AddressDeleted,
    AddressInput,
    AddressList,
    AddressResponse,
    CompleteRegistration,
    CustomerResponse,
    Register,
    UpdateAddress,
    UpdateOwnCustomer,
)
from impact.domains.customers.service import AddressService, CustomerService
from impact.domains.identity.access import customer, shop_guard
from impact.domains.identity.login import TokenResponse
from impact.engine.db.session import ReadSession, WriteSession
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Paging
from impact.engine.http.limits import counted_as
from impact.engine.http.routes import written
from impact.engine.runtime import Runtime
from impact.engine.security.permissions import public
from impact.errors import NotFoundError, UnauthorizedError


def _caller(context: RequestContext) -> UUID:
    id = context.actor.id
    if context.actor.kind is not ActorKind.CUSTOMER or id is None:
        raise UnauthorizedError("log in as a customer first")
    return id


async def _own(session: ReadSession) -> str:
    """The caller as JSON. Raises UnauthorizedError where the customer is gone."""
    try:
        return await read.customers.one(session, _caller(session.context))
    except NotFoundError:
        raise UnauthorizedError("this customer has no account any more") from None


@contextlib.asynccontextmanager
async def _writing(runtime: Runtime, context: RequestContext) -> AsyncIterator[WriteSession]:
    """A unit of work of a customer who still exists."""
    async with runtime.database.write(context) as session:
        await _own(session)
        yield session


class CustomerRegistration(Controller):
    path = "/auth/customer/emailpass"
    tags = ("Authentication",)
    opt = counted_as("login")

    @post("/register", opt=public(), guards=[shop_guard], status_code=200)
    async def register(
        self, context: Context, runtime: Engine, data: JSONBody[Register]
    ) -> TokenResponse:
        """Open an account and log in to it. 409 where the e-mail has one already."""
        password_hash = await runtime.passwords.hash(data.password)
        async with runtime.database.write(context) as session:
            id = await CustomerService(session).register(data, password_hash)
        actor = Actor(ActorKind.CUSTOMER, context.tenant, id)
        token = runtime.tokens.issue(actor, made_in=context)
        return TokenResponse(token=token)


class StoreCustomers(Controller):
    path = "/customers"
    tags = ("Store customers",)

    @post(opt=customer(), status_code=200)
    async def complete_registration(
        self, context: Context, runtime: Engine, data: JSONBody[CompleteRegistration]
    ) -> Response[CustomerResponse]:
        """Medusa's second step: the token of the registration, with the customer's names."""
        async with _writing(runtime, context) as session:
            await CustomerService(session).complete(_caller(context), data)
            return await written(read.customers, "customer", session, _caller(context))

    @get("/me", opt=customer())
    async def get_me(
        self, context: Context, runtime: Engine, fields: Fields = None
    ) -> Response[CustomerResponse]:
        async with runtime.database.read(context) as session:
            body = await _own(session)
        return responses.entity("customer", body, fields=fields)

    @post("/me", opt=customer(), status_code=200)
    async def update_me(
        self, context: Context, runtime: Engine, data: JSONBody[UpdateOwnCustomer]
    ) -> Response[CustomerResponse]:
        async with _writing(runtime, context) as session:
            await CustomerService(session).update(_caller(context), data)
            return await written(read.customers, "customer", session, _caller(context))

    @get("/me/addresses", opt=customer() | listing(read.addresses))
    async def list_addresses(
        self, context: Context, runtime: Engine, paging: Paging, fields: Fields = None
    ) -> Response[AddressList]:
        async with runtime.database.read(context) as session:
            await _own(session)
            found = await read.addresses.page(
                session,
                paging,
                runtime.cursors,
                count_limit=runtime.settings.count_limit,
                customer_id=_caller(context),
            )
        return responses.page("addresses", found, paging, fields=fields)

    @post("/me/addresses", opt=customer(), status_code=200)
    async def add_address(
        self, context: Context, runtime: Engine, data: JSONBody[AddressInput]
    ) -> Response[CustomerResponse]:
        async with _writing(runtime, context) as session:
            await AddressService(session, _caller(context)).add(data)
            return await written(read.customers, "customer", session, _caller(context))

    @get("/me/addresses/{id:uuid}", opt=customer())
    async def get_address(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[AddressResponse]:
        async with runtime.database.read(context) as session:
            await _own(session)
            body = await read.addresses.one(session, id, customer_id=_caller(context))
        return responses.entity("address", body, fields=fields)

    @post("/me/addresses/{id:uuid}", opt=customer(), status_code=200)
    async def update_address(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[UpdateAddress]
    ) -> Response[CustomerResponse]:
        async with _writing(runtime, context) as session:
            await AddressService(session, _caller(context)).update(id, data)
            return await written(read.customers, "customer", session, _caller(context))

    @delete("/me/addresses/{id:uuid}", opt=customer(), status_code=200)
    async def delete_address(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[AddressDeleted]:
        async with _writing(runtime, context) as session:
            await AddressService(session, _caller(context)).remove(id)
            parent = await _own(session)
        return responses.deleted("address", id, parent=parent)
