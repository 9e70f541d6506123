"""The audit of connections: from a stream of events into the database."""
