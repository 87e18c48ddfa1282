"""Alerts: rules as data, judged against the figures of all worker processes."""
