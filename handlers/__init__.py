"""What to do when something is asked or has happened. Owns the ports to the outside."""
