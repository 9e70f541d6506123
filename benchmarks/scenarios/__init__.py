"""One function for each goal of docs/performance.md; it measures all sides in one run and returns the figures."""
