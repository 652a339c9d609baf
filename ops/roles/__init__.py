"""The processes: each role's composition."""
