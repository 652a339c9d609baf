"""What brings servers to where their events want them, and hears what their hosts report."""
