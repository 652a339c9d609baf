"""The metadata service: what a guest at its first boot asks for at 169.254.169.254."""
