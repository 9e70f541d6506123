"""Publishing to a Redis stream: intents, stored until their entry is added."""
