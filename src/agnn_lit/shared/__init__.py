"""Run folders, files, processes and pictures: what several packages use."""
