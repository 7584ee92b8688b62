"""The ways in for bytes."""
