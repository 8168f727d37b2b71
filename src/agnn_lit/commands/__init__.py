"""Entry points, one a command; each is thin over the room that does the work."""
