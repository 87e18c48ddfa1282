"""Customers are not cached, as each page is seen by one person; whether one has an account is."""

from impact.engine.cache.invalidation import Effect, declare

declare("customer", Effect("customer", "id"))
declare("address")
