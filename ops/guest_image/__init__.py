"""Builds ``tiny``: a Linux guest small enough to boot in seconds under pure emulation.

Its kernel and its busybox are the distribution's own packages; nothing is installed, mounted or run as another
system, so that any machine which has the tools can build it.
"""

from ops.guest_image.build import BuildError, TinyImage, build_tiny, tiny_image

__all__ = ["BuildError", "TinyImage", "build_tiny", "tiny_image"]
