"""A content-addressed file service with a GA4GH DRS API."""
