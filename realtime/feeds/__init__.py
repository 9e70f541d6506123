"""Feeds: ordered logs in Redis, their entries and their names."""
