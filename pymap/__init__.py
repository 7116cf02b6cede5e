"""pymap: an IMAP server for asyncio, with mail stores that plug in."""

__version__ = "1.0.0.dev0"
"""The one place where the version stands; pyproject.toml reads it from here."""
