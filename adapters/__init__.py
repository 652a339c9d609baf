"""The outside world, a folder a technology."""
