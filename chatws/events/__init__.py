"""Events of the chat service: the payloads of the topics, and the publications made of them."""
