"""What is counted of requests, and `/metrics`, which tells it."""
