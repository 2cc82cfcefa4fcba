"""Our Dramatiq middleware for worker processes, one a file."""
