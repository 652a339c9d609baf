"""A wrong value is an error that names the file, the key and what is allowed."""

from pathlib import Path

import pytest

from domain.errors import Invalid
from ops.settings import Settings, load


def _load(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "lightcurve.toml"
    file.write_text(text)
    return load(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[api]\nport = 70000", r"<= 65535 - at `\$.api.port`"),
        ("[api]\nport = 'web'", r"`\$.api.port`"),
        ("[api]\nprot = 8774", r"unknown field `prot` - at `\$.api`"),
        ("cell = 'Cell 1'", r"matching regex .* - at `\$.cell`"),
        ("[placement]\nmax_allocation_candidates = 0", r">= 1 - at `\$.placement.max_allocation_candidates`"),
        ("[quota]\ncores = -2", r">= -1 - at `\$.quota.cores`"),
        ("state_dir = 7", r"`\$.state_dir`"),
        ("[api", "is not TOML"),
        ("[placement]\nauth = 'none'", r"'none' - at `\$.placement.auth`; allowed are 'tokens', 'noauth2'"),
        (
            "[erasure]\nseal = ['descriptions', 'names']",
            r"'names' - at `\$.erasure.seal\[1\]`; allowed are 'keypairs', 'addresses', 'descriptions'",
        ),
    ],
)
def test_a_wrong_value(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as error:
        _load(tmp_path, text)
    assert "lightcurve.toml" in error.value.message


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no configuration file"):
        load(tmp_path / "nowhere.toml")


def test_the_environment_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTCURVE_API_PORT", "9000")
    monkeypatch.setenv("LIGHTCURVE_QUOTA_RAM_MB", "-1")
    monkeypatch.setenv("LIGHTCURVE_STATE_DIR", "/elsewhere")
    settings = _load(tmp_path, "[api]\nport = 8000")
    assert (settings.api.port, settings.quota.ram_mb, settings.state_dir) == (9000, -1, Path("/elsewhere"))


def test_a_wrong_value_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTCURVE_API_PORT", "many")
    with pytest.raises(Invalid, match=r"api\.port"):
        _load(tmp_path, "")
