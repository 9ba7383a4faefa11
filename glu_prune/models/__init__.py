"""Models on disk: the embedded ones, how any other is found and loaded, and the formats that folders have."""
