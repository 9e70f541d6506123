"""One gateway process: what its connections share, from start to drain."""
