"""A process's fan-out: feeds that connections of this process receive, gaps filled from the log."""
