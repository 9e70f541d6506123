"""Fan-out in one process: feeds, their subscribers, and gaps that are filled from the log."""
