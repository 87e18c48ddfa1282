"""The two-tier cache: never staler than docs/caching.md says (P5)."""
