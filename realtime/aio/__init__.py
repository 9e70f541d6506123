"""Helpers for asyncio, independent of delivery."""
