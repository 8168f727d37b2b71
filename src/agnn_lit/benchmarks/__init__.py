"""Benchmarks, one file per topic: time and memory beside plain code."""
