"""The dashboard at /ops: one page, live, of all worker processes and all shops."""
