"""One pytest session: which cases it has, what they are judged by, and what came of them."""
