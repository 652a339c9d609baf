"""How it is run: the composition root, the ``lightcurve`` command, the embedded parts."""
