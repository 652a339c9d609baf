"""The machine's own randomness."""

from uuid import RFC_4122, UUID

from adapters.system import SystemIds


def test_ids_are_random_uuids_in_their_usual_form() -> None:
    texts = [SystemIds().uuid() for _ in range(1000)]
    assert len(set(texts)) == 1000
    found = [UUID(text) for text in texts]
    assert [str(each) for each in found] == texts
    assert {(each.version, each.variant) for each in found} == {(4, RFC_4122)}
    told = [0, 0]
    for each in found:
        told = [told[0] | each.int, told[1] | ~each.int]
    # But for the six bits that say what it is, each bit is sometimes set and sometimes not.
    assert (told[0] & told[1] & ((1 << 128) - 1)).bit_count() == 128 - 6
