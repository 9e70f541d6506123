"""The chat service of a world: what it stores, how it answers, its instances, its faults and its events."""
