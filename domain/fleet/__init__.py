"""The machines that run guests."""
