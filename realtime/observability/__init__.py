"""Metrics, probes, log context and tracing."""
