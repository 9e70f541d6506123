"""Entries that are added to a stream of Redis: what is meant to be added, kept until it is."""
