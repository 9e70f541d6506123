"""The frames of the socket: their types, their limits and their codec."""
