"""docker-compose.yaml, run without containers."""
