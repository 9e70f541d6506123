"""Who is online, and which connections are to be ended."""
