"""Scores of video object segmentation as pure functions on arrays: J, F, T, their statistics, and protocols.

Only ``video_scores.py`` imports torch, so that scoring a folder of masks starts at once.
"""
