"""Judging, measuring and choosing without pytest: what commands do, as functions."""
