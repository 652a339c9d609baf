"""Who signs the logs of this installation: its key, whose keys it believes beside, and what was signed last."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from adapters.notes import PublicKey, SigningKey, opened, public_key
from domain.errors import Invalid, Unavailable
from domain.log.checkpoint import Checkpoint
from ops.settings import Settings

KEY = "checkpoint.key"


class FileNotary:
    """Everything is in files of the state directory, read anew each time: a new key holds at once."""

    def __init__(self, settings: Settings) -> None:
        self.key_file = settings.checkpoints.key_file or settings.state_dir / "secrets" / KEY
        self._directory = settings.state_dir / "checkpoints"
        self._cells = tuple(dict.fromkeys((settings.cell, settings.api_cell)))

    def ensure_key(self) -> SigningKey:
        """The key; a fresh one at the first time. Raises Invalid, Unavailable."""
        if not self.key_file.exists():
            try:
                SigningKey.new().write(self.key_file)
            except FileExistsError:
                pass
            except OSError as error:
                raise Unavailable(f"The key of the checkpoints cannot be written: {error}") from None
        return self._key()

    def renew_key(self) -> SigningKey:
        """A new key, and with it new names of the logs: they need not be what was signed under the old ones. The old
        key is good for reading only."""
        for key in self._own():
            self.believe(key)
        fresh = self.key_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        SigningKey.new().write(fresh)
        fresh.replace(self.key_file)
        return self._key()

    def believe(self, key: PublicKey) -> None:
        """From now on its checkpoints are good here, too: those of an older key, or of a log that was imported."""
        if key not in self._others():
            _write(self._believed, "".join(f"{each}\n" for each in (*self._others(), key)))

    def known_keys(self) -> list[PublicKey]:
        """Whose checkpoints are good here: those of the present key come first."""
        return [*self._own(), *self._others()]

    def sign(self, cell: str, size: int, root: bytes) -> str:
        """See handlers.log.checkpoints.Notary. Raises Invalid without a key."""
        return self._key().sign(cell, size, root)

    def opened(self, note: str) -> Checkpoint:
        """See handlers.log.checkpoints.Notary."""
        return opened(note, self.known_keys())

    def kept(self, cell: str) -> Checkpoint | None:
        """See handlers.log.checkpoints.Notary."""
        note = self.kept_note(cell)
        return opened(note, self._own()) if note else None

    def kept_note(self, cell: str) -> str | None:
        """As it was given out."""
        name = f"{self._key().public(cell)}".partition("+")[0]
        note = _read(self._note_file(cell))
        return note if note.startswith(f"{name}\n") else None

    async def keep(self, cell: str, note: str) -> None:
        """See handlers.log.checkpoints.Notary."""
        await asyncio.to_thread(_write, self._note_file(cell), note)

    def _key(self) -> SigningKey:
        try:
            return SigningKey.read(self.key_file)
        except FileNotFoundError:
            raise Invalid(f"There is no key {self.key_file}. Make one with: lightcurve checkpoint --key") from None
        except OSError as error:
            raise Unavailable(f"The key of the checkpoints cannot be read: {error}") from None

    def _own(self) -> Iterator[PublicKey]:
        if self.key_file.exists():
            key = self._key()
            yield from (key.public(cell) for cell in self._cells)

    def _others(self) -> list[PublicKey]:
        return [public_key(line) for line in _read(self._believed).split()]

    @property
    def _believed(self) -> Path:
        return self._directory / "believed.keys"

    def _note_file(self, cell: str) -> Path:
        return self._directory / f"{cell}.note"


def _read(file: Path) -> str:
    """What stands in it; nothing, if it is not there. Raises Unavailable."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{file} cannot be read: {error}") from None


def _write(file: Path, text: str) -> None:
    """All or nothing, on the disk when it returns. Raises Unavailable."""
    fresh = file.with_suffix(file.suffix + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w") as output:
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        fresh.replace(file)
    except OSError as error:
        raise Unavailable(f"{file} cannot be written: {error}") from None


def keys_of(texts: list[str]) -> list[PublicKey]:
    """Verifiers' keys, as given on a command line: each is one, or the name of a file with some. Raises Invalid."""
    found = []
    for text in texts:
        file = Path(text)
        if "+" not in text and not file.is_file():
            raise Invalid(f"{text} is neither a verifier's key (name+id+base64) nor a file of such keys.")
        found += [public_key(line) for line in (file.read_text().split() if "+" not in text else [text])]
    return found
