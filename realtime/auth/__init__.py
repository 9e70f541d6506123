"""Tokens to principals: the keys that count, and the tokens that were revoked."""
