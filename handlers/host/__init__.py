"""What runs on a host, and what the control plane and a host say to each other."""
