"""Developer's tools. Nothing here is part of a running chat."""
