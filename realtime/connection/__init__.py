"""One socket: its handshake, its life, its bounded way out, and how much it may send."""
