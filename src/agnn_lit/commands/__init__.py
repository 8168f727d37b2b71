"""Entry points, one per command."""
