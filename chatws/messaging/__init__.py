"""Messages on their way in, and what is said about them: history, typing, who is online."""
