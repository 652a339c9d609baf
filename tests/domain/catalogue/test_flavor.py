"""Which images a flavor is large enough for."""

import pytest

from domain.catalogue.flavor import Flavor, check_image
from domain.errors import Invalid
from domain.guest import ImageSource


@pytest.mark.parametrize(
    ("disk_gb", "min_disk_gb", "min_ram_mb", "too_small"),
    [(10, 10, 512, None), (10, 11, 0, "disk is smaller"), (10, 0, 513, "memory is too small"), (0, 11, 0, None)],
)
def test_an_image_fits_or_not(disk_gb: int, min_disk_gb: int, min_ram_mb: int, too_small: str | None) -> None:
    flavor = Flavor(id="1", name="small", vcpus=1, ram_mb=512, disk_gb=disk_gb)
    image = ImageSource(id="i", disk_format="raw", checksum="00", min_disk_gb=min_disk_gb)
    if too_small is None:
        check_image(flavor, image, min_ram_mb)
        return
    with pytest.raises(Invalid, match=too_small):
        check_image(flavor, image, min_ram_mb)
