"""The routes to customers and their addresses, for staff."""

from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from impact.domains.customers import read
from impact.domains.customers.schemas import (
    AddressDeleted,
    AddressInput,
    AddressList,
    AddressResponse,
    CreateCustomer,
    CustomerList,
    CustomerResponse,
    UpdateAddress,
    UpdateCustomer,
)
from impact.domains.customers.service import AddressService, CustomerService
from impact.engine.http import responses
from impact.engine.http.contract import listing
from impact.engine.http.dependencies import Context, Engine, Fields, Many, Paging, Search, Word
from impact.engine.http.routes import changing, list_of, one_of, written
from impact.engine.schemas import Deleted
from impact.engine.security.permissions import requires
from impact.engine.text import like_pattern


class AdminCustomers(Controller):
    path = "/customers"
    tags = ("Admin customers",)

    @get(opt=requires("customer:read") | listing(read.customers))
    async def list_customers(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        q: Search = None,
        fields: Fields = None,
        id: Many[UUID] = None,
        email: Many[Word] = None,
        has_account: FromQuery[bool | None] = None,
    ) -> Response[CustomerList]:
        filters = {
            "q": like_pattern(q) if q else None,
            "id": id,
            "email": None if email is None else [address.lower() for address in email],
            "has_account": has_account,
        }
        return await list_of(
            read.customers, "customers", runtime, context, paging, fields=fields, filters=filters
        )

    @post(opt=requires("customer:create"), status_code=200)
    async def create_customer(
        self, context: Context, runtime: Engine, data: JSONBody[CreateCustomer]
    ) -> Response[CustomerResponse]:
        async with runtime.database.write(context) as session:
            id = await CustomerService(session).create(data)
            return await written(read.customers, "customer", session, id)

    @get("/{id:uuid}", opt=requires("customer:read"))
    async def get_customer(
        self, context: Context, runtime: Engine, id: FromPath[UUID], fields: Fields = None
    ) -> Response[CustomerResponse]:
        return await one_of(read.customers, "customer", runtime, context, id, fields=fields)

    @post("/{id:uuid}", opt=requires("customer:update"), status_code=200)
    async def update_customer(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[UpdateCustomer]
    ) -> Response[CustomerResponse]:
        async with changing(read.customers, "customer", runtime, context, id) as session:
            await CustomerService(session).update(id, data)
            return await written(read.customers, "customer", session, id)

    @delete("/{id:uuid}", opt=requires("customer:delete"), status_code=200)
    async def delete_customer(
        self, context: Context, runtime: Engine, id: FromPath[UUID]
    ) -> Response[Deleted]:
        async with changing(read.customers, "customer", runtime, context, id) as session:
            await CustomerService(session).remove(id)
        return responses.deleted("customer", id)

    @get("/{id:uuid}/addresses", opt=requires("customer:read") | listing(read.addresses))
    async def list_addresses(
        self,
        context: Context,
        runtime: Engine,
        paging: Paging,
        id: FromPath[UUID],
        fields: Fields = None,
    ) -> Response[AddressList]:
        return await list_of(
            read.addresses,
            "addresses",
            runtime,
            context,
            paging,
            fields=fields,
            parent=(read.customers, id),
            customer_id=id,
        )

    @post("/{id:uuid}/addresses", opt=requires("customer:update"), status_code=200)
    async def add_address(
        self, context: Context, runtime: Engine, id: FromPath[UUID], data: JSONBody[AddressInput]
    ) -> Response[CustomerResponse]:
        async with changing(read.customers, "customer", runtime, context, id) as session:
            await AddressService(session, id).add(data)
            return await written(read.customers, "customer", session, id)

    @get("/{id:uuid}/addresses/{address_id:uuid}", opt=requires("customer:read"))
    async def get_address(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        address_id: FromPath[UUID],
        fields: Fields = None,
    ) -> Response[AddressResponse]:
        return await one_of(
            read.addresses, "address", runtime, context, address_id, fields=fields, customer_id=id
        )

    @post(
        "/{id:uuid}/addresses/{address_id:uuid}", opt=requires("customer:update"), status_code=200
    )
    async def update_address(
        self,
        context: Context,
        runtime: Engine,
        id: FromPath[UUID],
        address_id: FromPath[UUID],
        data: JSONBody[UpdateAddress],
    ) -> Response[CustomerResponse]:
        async with changing(read.customers, "customer", runtime, context, id) as session:
            await AddressService(session, id).update(address_id, data)
            return await written(read.customers, "customer", session, id)

    @delete(
        "/{id:uuid}/addresses/{address_id:uuid}", opt=requires("customer:update"), status_code=200
    )
    async def delete_address(
        self, context: Context, runtime: Engine, id: FromPath[UUID], address_id: FromPath[UUID]
    ) -> Response[AddressDeleted]:
        async with changing(read.customers, "customer", runtime, context, id) as session:
            await AddressService(session, id).remove(address_id)
            parent = await read.customers.one(session, id)
        return responses.deleted("customer_address", address_id, parent=parent)
