"""The server: the whole life of an instance, and what may be done to it in which state."""
