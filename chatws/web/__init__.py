"""Over HTTP: the chat page, probes, the API and the documents of the interfaces."""
