"""When the interpreter looks for garbage.

A process that starts makes millions of objects that stay, and hardly any garbage: to look through all of them again
and again, as the collector does while they grow, costs more than making them.
"""

import gc

THRESHOLDS = (50_000, 20, 20)
"""Of the three generations, see ``gc.set_threshold``: what a thousand requests under way hold together is no sign of
garbage, and all that a process holds in memory is looked through seldom."""


def wait() -> None:
    """Do not look for any, until told to begin."""
    gc.disable()


def begin() -> None:
    """Look for it from now on, but not among what is there now; nothing to do where it did not wait."""
    if not gc.isenabled():
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        gc.enable()
