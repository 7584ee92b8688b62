"""GA4GH Data Repository Service 1.5.0."""
