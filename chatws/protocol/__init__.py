"""The frames of the socket: their types, their limits, and how they are read and written."""
