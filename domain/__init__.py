"""What is true and what may happen. Pure: no clock, no socket, no randomness."""
