"""The ASGI server: daphne with its own command line, frames written past ASGI, and several processes on one port."""
