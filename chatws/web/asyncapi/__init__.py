"""The AsyncAPI document of the WebSocket and the topics, made from the frame types (`manage.py interface_docs`)."""
