"""The chat groups that the users of this process are in."""
