"""What it means: claims, statistics on paired items, and verdicts."""
