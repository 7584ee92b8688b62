"""Rows: one module per table, the SQL beside the function that runs it."""
