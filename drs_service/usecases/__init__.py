"""What the service can do, told without HTTP."""
