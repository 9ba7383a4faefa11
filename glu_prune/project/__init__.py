"""What a repository of a user begins with."""
