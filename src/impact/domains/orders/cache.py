"""Orders are never cached; what is summed over them is."""

from impact.engine.cache.invalidation import Effect, declare

declare("order", Effect("order"))
declare("order_line", Effect("order"))
declare("order_event")
declare("idempotency_key")
