"""Channel layers: what is used of one, and ours over Redis."""
