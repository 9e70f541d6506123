"""A cluster in one thread, on a virtual clock, from a seed: the real code in a simulated world."""
