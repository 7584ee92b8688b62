"""What goes out over HTTP: the one place that knows the client."""
