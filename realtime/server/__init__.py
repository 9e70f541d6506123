"""The ASGI server: daphne, with its command line, ready frames past ASGI, and several processes on one port."""
