"""Servers: asked for, listed, shown, changed, looked at."""
