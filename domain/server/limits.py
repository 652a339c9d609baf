"""How much may hang on one server. The figures are Nova's defaults, and so are the words of the refusals."""

from collections.abc import Iterable, Mapping

from domain.errors import Refused

MAX_METADATA = 128
MAX_TAGS = 50
MAX_INTERFACES = 16
MAX_FILES = 5
MAX_FILE_BYTES = 10240
"""Of the content of one file for the guest."""
MAX_FILE_PATH = 255
"""Bytes."""


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise Refused (403) for more items than a server may have."""
    if len(metadata) > MAX_METADATA:
        raise Refused("metadata.limit", f"Maximum number of metadata items exceeds {MAX_METADATA}", status=403)


def check_files(files: Iterable[tuple[str, bytes]]) -> None:
    """Raise Refused (403) for more files, longer paths (in bytes) or more content than a guest may be given."""
    for number, (path, content) in enumerate(files, start=1):
        if number > MAX_FILES:
            raise Refused("personality.limit", "Personality file limit exceeded", status=403)
        if len(path.encode()) > MAX_FILE_PATH:
            raise Refused("personality.path_limit", "Personality file path exceeds maximum length", status=403)
        if len(content) > MAX_FILE_BYTES:
            raise Refused("personality.content_limit", "Personality file content exceeds maximum length", status=403)
