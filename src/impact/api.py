"""Which routes exist. The policy of each audience is attached here, once, to its router."""

from litestar import Router

from impact.domains.carts.controllers import StoreCarts
from impact.domains.catalog import admin as catalog_admin
from impact.domains.catalog import store as catalog_store
from impact.domains.customers import admin as customers_admin
from impact.domains.customers import store as customers_store
from impact.domains.identity.access import admin_guard, platform_guard, store_guard
from impact.domains.identity.admin_keys import AdminApiKeys
from impact.domains.identity.admin_roles import AdminPermissions, AdminPolicies, AdminRoles
from impact.domains.identity.admin_users import AdminUsers
from impact.domains.identity.login import Login
from impact.domains.identity.sessions import Sessions
from impact.domains.inventory.controllers import AdminInventoryLevels
from impact.domains.orders.controllers import AdminOrders, StoreOrders
from impact.domains.tenants.admin import AdminTenants
from impact.engine.http.limits import open_guard
from impact.flows.checkout.absent import StoreAbsent
from impact.flows.checkout.controllers import StoreCheckout
from impact.flows.order_changes import AdminOrderChanges
from impact.flows.products import AdminNewProducts
from impact.flows.shops import AdminNewTenants
from impact.openapi.controllers import Schema
from impact.ops.cache import AdminCache
from impact.ops.dashboard.controllers import DashboardFigures, DashboardPage
from impact.ops.health import Health
from impact.ops.metrics import Metrics
from impact.reporting.audit_controllers import AdminAuditLogs, AdminProductHistory
from impact.reporting.controllers import AdminReports
from impact.reporting.exports.controllers import AdminExports


def routers() -> list[Router]:
    """The routers of every audience."""
    return [
        Router("/", route_handlers=[Health]),
        Router(
            "/",
            guards=[open_guard],
            route_handlers=[
                Metrics,
                Login,
                Sessions,
                customers_store.CustomerRegistration,
                DashboardPage,
                Schema,
            ],
        ),
        Router("/", guards=[platform_guard], route_handlers=[DashboardFigures]),
        Router(
            "/admin",
            guards=[admin_guard],
            route_handlers=[
                catalog_admin.AdminProducts,
                AdminNewProducts,
                catalog_admin.AdminVariants,
                catalog_admin.AdminCollections,
                catalog_admin.AdminCategories,
                AdminInventoryLevels,
                AdminOrders,
                AdminOrderChanges,
                AdminUsers,
                AdminRoles,
                AdminPolicies,
                AdminPermissions,
                AdminApiKeys,
                AdminTenants,
                AdminNewTenants,
                customers_admin.AdminCustomers,
                AdminReports,
                AdminExports,
                AdminAuditLogs,
                AdminProductHistory,
                AdminCache,
            ],
        ),
        Router(
            "/store",
            guards=[store_guard],
            route_handlers=[
                catalog_store.StoreProducts,
                catalog_store.StoreCollections,
                catalog_store.StoreCategories,
                StoreCarts,
                StoreCheckout,
                StoreAbsent,
                StoreOrders,
                customers_store.StoreCustomers,
            ],
        ),
    ]
