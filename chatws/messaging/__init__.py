"""Send messages, and serve what belongs to them: history, typing, presence of chat groups."""
