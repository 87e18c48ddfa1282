"""Customers are not cached: each page is seen by one person."""

from impact.engine.cache.invalidation import declare

declare("customer")
declare("address")
