"""Bytes: the driver contract, the drivers, and the one door in front of them."""
