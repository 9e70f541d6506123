"""Presence over all gateways, and requests to close connections."""
