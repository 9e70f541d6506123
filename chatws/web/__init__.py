"""HTTP: the chat page, the probes, the API and the documents of the interfaces."""
