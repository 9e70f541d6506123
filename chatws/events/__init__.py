"""Events of the chat service: what the topics' entries say, and which publications they become."""
