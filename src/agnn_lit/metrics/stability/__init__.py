"""T, temporal stability: by the overlap of successive masks, or by shape contexts of their outlines (DAVIS-2016)."""
