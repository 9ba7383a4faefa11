"""Two runs on the same items: what is pinned of one, and whether the other does worse."""
