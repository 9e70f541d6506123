"""Every delivery bug that was ever mended, as a short history: it passes today and fails with the bug brought back."""
