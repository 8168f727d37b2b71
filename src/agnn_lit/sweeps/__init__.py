"""Sweeps: launchers, search, evaluation of all runs, and the W&B dashboard."""
