"""The connection audit: gateways write events to a stream, the relay writes them to the database."""
