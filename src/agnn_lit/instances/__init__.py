"""Objects instead of one foreground: proposals of each frame, linked over time into tracks."""
