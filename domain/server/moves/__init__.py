"""What takes a server from one host, or one size, to another: a room each. See ADR 64."""
