"""Feeds: ordered logs in Redis, their publications and their names."""
