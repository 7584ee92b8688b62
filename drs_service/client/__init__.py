"""`drs-service put` and `get`: a client of any DRS server, and of tus uploads, that knows nothing of our server."""
