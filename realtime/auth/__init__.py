"""Authentication: verify tokens with the configured keys, and check revocations."""
