"""Impact: a multi-tenant e-commerce backend that is fast and proves it."""

__version__ = "0.1.0"
