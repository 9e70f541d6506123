"""Servers of others, or as others write them, that fan the same message out to the same connections."""
