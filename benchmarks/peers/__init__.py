"""Servers of other projects that deliver the same message to the same connections, for comparison."""
