"""What can be done to a server: each action in a room of its own."""
