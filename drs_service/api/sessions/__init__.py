"""Sessions over HTTP: creating, watching and stopping them, and opening one in a browser."""
