"""Exported logs are verified by ``lightcurve verify`` and by the small verifier, which knows nothing of it: both find
the same."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from adapters.log_file import FORMAT, Head, LogFile, LogWriter, Part, Tail, Torn, line_of
from adapters.notes import NotSigned
from domain.errors import Invalid
from domain.log.checkpoint import Entry
from domain.log.merkle import Frontier, Tree
from domain.log.recovery import ranges
from ops.verify import verify, verify_file
from tests.paper_log import PaperLog, PaperNotary, signer
from tests.tampering import KEY, LAST, OTHER, SIGNED, TAMPERINGS, honest

SMALL = Path(__file__).parents[2] / "ops" / "verifier" / "verify_log.py"
KEYS = [KEY.public(cell) for cell in ("cell1", "api")]
ENTRIES = list(honest().kept.values())


def write(
    file: Path, entries: list[Entry], *, last: int = LAST, missing: tuple[int, ...] = (), complete: bool = True
) -> Path:
    output = LogWriter(file)
    output.head(Head(format=FORMAT, cell="cell1", exported="", last=last, missing=ranges(missing)))
    for entry in entries:
        output.line(line_of(entry))
    if complete:
        tree = Frontier()
        tree.extend(entry.leaf for entry in entries)
        output.end(Tail(events=len(entries), root=None if missing else tree.root))
    else:
        output.flush()
        output.close()
    return file


def part(file: Path, positions: list[int], size: int = SIGNED[1]) -> Path:
    tree = Tree(entry.leaf for entry in ENTRIES)
    note = PaperNotary(KEY).sign("cell1", size, tree.root(size))
    output = LogWriter(file)
    output.head(Head(format=FORMAT, cell="cell1", exported="", last=size, part=Part(server="s"), checkpoint=note))
    for position in positions:
        output.line(line_of(ENTRIES[position - 1], tuple(tree.inclusion(position - 1, size))))
    output.end(Tail(events=len(positions)))
    return file


def both(file: Path) -> int | None:
    """What both verifiers say: the first bad position, None if there is none."""
    verdict = verify_file(file, KEYS)
    known = [str(key) for key in KEYS]
    small = subprocess.run([sys.executable, SMALL, file, *known], capture_output=True, text=True, check=False)
    assert small.returncode == (0 if verdict.good else 1), (verdict.text, small.stdout, small.stderr)
    if verdict.good:
        return None
    named = [re.findall(r"osition (?:is )?(\d+)", text)[:1] for text in (verdict.text, small.stdout)]
    assert named[0] == named[1], (verdict.text, small.stdout)
    return int(named[0][0])


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_an_honest_log_is_whole_in_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"log{suffix}", ENTRIES)
    assert both(file) is None
    assert verify_file(file, KEYS).text == (
        f"{file}: whole. 58 events, positions 1 to 58; signed up to 44 by lightcurve/test/cell1. What is behind is "
        "held by its chains."
    )


@pytest.mark.parametrize("name", [name for name in TAMPERINGS if "not signed" not in name or "Nats" not in name])
def test_both_verifiers_find_each_tampering_where_it_begins(tmp_path: Path, name: str) -> None:
    tampering = TAMPERINGS[name]
    assert both(write(tmp_path / "log.jsonl", tampering.done(ENTRIES))) == tampering.first


def test_a_log_that_nobody_has_signed_is_not_good(tmp_path: Path) -> None:
    log = PaperLog()
    log.fill(10)
    file = write(tmp_path / "log.jsonl", list(log.kept.values()), last=10)
    verdict = verify_file(file, KEYS)
    assert (verdict.good, "nothing is signed" in verdict.text) == (False, True)
    small = subprocess.run([sys.executable, SMALL, file, str(KEYS[0])], capture_output=True, text=True, check=False)
    assert (small.returncode, "signed by nobody" in small.stdout) == (1, True)


def test_what_was_lost_and_told_is_told_again(tmp_path: Path) -> None:
    log, notary = PaperLog(), PaperNotary(KEY)
    log.fill(20)
    asyncio.run(signer(log, notary).sign())
    log.fill(10, 20)
    log.lose(3, 25)
    log.recover()
    log.fill(10, 30)
    asyncio.run(signer(log, notary).sign())
    entries = list(log.kept.values())
    assert both(write(tmp_path / "log.jsonl", entries, last=log.end, missing=(3, 25))) is None
    text = verify_file(tmp_path / "log.jsonl", KEYS).text
    assert "Missing, as recoveries in the log say: positions 3, 25." in text
    untold = [entry for entry in entries if ".recovery." not in entry.subject and entry.position < 31]
    assert both(write(tmp_path / "untold.jsonl", untold, last=30, missing=(3, 25))) == 3
    assert both(write(tmp_path / "silent.jsonl", entries, last=log.end)) == 3


def test_what_was_signed_is_not_excused_by_a_recovery_that_nobody_signed(tmp_path: Path) -> None:
    log, notary = PaperLog(), PaperNotary(KEY)
    log.fill(20)
    asyncio.run(signer(log, notary).sign())
    log.fill(10, 20)
    log.lose(3, 25)
    log.recover()
    entries = list(log.kept.values())
    assert both(write(tmp_path / "log.jsonl", entries, last=log.end, missing=(3, 25))) == 3
    assert "nobody has signed the recovery" in verify_file(tmp_path / "log.jsonl", KEYS).text
    asyncio.run(signer(log, notary).sign())
    entries = list(log.kept.values())
    assert both(write(tmp_path / "log.jsonl", entries, last=log.end, missing=(3, 25))) is None


def test_the_hash_of_all_holds_the_last_event(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", ENTRIES)
    text = file.read_text()
    at = text.rindex('\\"name\\":\\"k')
    file.write_text(f"{text[:at]}{text[at:].replace('k', 'j', 1)}")
    assert both(file) == SIGNED[1] + 1


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_a_file_that_breaks_off_is_not_good(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"log{suffix}", ENTRIES)
    raw = file.read_bytes()
    head = raw.index(b"\n") if suffix == ".jsonl" else LogFile(file).read
    for seed in range(6):
        file.write_bytes(raw[: Random(seed).randrange(head + 20, len(raw) - 1)])
        verdict = verify_file(file, KEYS)
        assert not verdict.good
        assert "damaged or cut there" in verdict.text
    assert both(write(tmp_path / f"open{suffix}", ENTRIES, complete=False)) == LAST + 1


def test_a_file_whose_compression_is_damaged_is_not_good(tmp_path: Path) -> None:
    for suffix in (".jsonl.gz", ".jsonl.zst"):
        file = write(tmp_path / f"log{suffix}", ENTRIES)
        raw = bytearray(file.read_bytes())
        raw[len(raw) * 2 // 3] ^= 1
        file.write_bytes(bytes(raw))
        verdict = verify_file(file, KEYS)
        assert (verdict.good, "damaged or cut there" in verdict.text) == (False, True)


def test_a_part_is_proven_event_by_event(tmp_path: Path) -> None:
    file = part(tmp_path / "log.part.jsonl", [3, 10, 44])
    assert both(file) is None
    assert (
        "each of its 3 events is in the log that lightcurve/test/cell1 signed up to position 44"
        in verify_file(file, KEYS).text
    )
    text = file.read_text()
    lines = text.splitlines(keepends=True)

    def altered(lines: list[str]) -> int | None:
        file.write_text("".join(lines))
        return both(file)

    assert altered([text.replace('\\"name\\":\\"k', '\\"name\\":\\"j', 1)]) == 3
    assert altered([lines[0], lines[1], lines[1].replace('"position":3', '"position":4'), *lines[3:]]) == 4
    assert altered([lines[0], lines[2], lines[1], *lines[3:]]) == 3
    assert altered([*lines[:2], *lines[3:]]) is not None
    assert altered(lines[:-1]) is not None
    proof = json.loads(lines[1])
    assert altered([lines[0], json.dumps(proof | {"proof": proof["proof"][:-1]}) + "\n", *lines[2:]]) == 3


def test_a_part_under_anothers_signature_is_not_good(tmp_path: Path) -> None:
    file = part(tmp_path / "log.part.jsonl", [3])
    with pytest.raises(NotSigned):
        verify_file(file, [OTHER.public("cell1")])
    text = file.read_text()
    file.write_text(text.replace('"cell":"cell1"', '"cell":"api"'))
    assert not verify_file(file, KEYS).good


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    for text in ("", "x", '{"format":"other","cell":"c","exported":"","last":1}\n'):
        file.write_text(text)
        with pytest.raises(Invalid):
            LogFile(file)
    file.write_text('{"format":"lightcurve-log/1","cell":"../x","exported":"","last":1}\n')
    with pytest.raises(Invalid):
        verify_file(file, KEYS)
    lost = '[{"first":1,"last":99999999999}]'
    file.write_text(f'{{"format":"lightcurve-log/1","cell":"c","exported":"","last":1,"missing":{lost}}}\n')
    with pytest.raises(Invalid, match="said to be missing"):
        verify_file(file, KEYS)


def test_nothing_may_stand_behind_the_end(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", ENTRIES)
    text = file.read_text()
    file.write_text(text + text.splitlines(keepends=True)[1])
    with pytest.raises(Torn, match="something stands behind"):
        list(LogFile(file).batches())
    assert "behind the end" in small(file)


@pytest.mark.parametrize(
    "line", ["[]", "7", "{}", '{"position": "x"}', '{"position": 2, "subject": 7}', '{"end": 7}']
)
def test_a_line_that_is_none_is_told_in_a_sentence(tmp_path: Path, line: str) -> None:
    file = write(tmp_path / "log.jsonl", ENTRIES)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], f"{line}\n", *lines[3:]]))
    assert "NOT what was signed" in small(file)


def small(file: Path) -> str:
    """What the verifier that stands alone says of a file that is not good."""
    command = [sys.executable, SMALL, file, *(str(key) for key in KEYS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    return done.stdout


def test_whose_signatures_count_has_to_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "log.jsonl", ENTRIES)
    with pytest.raises(Invalid, match="Give --key"):
        verify(tmp_path, [file], [], [], None)
    assert verify(tmp_path, [tmp_path], [str(KEYS[0])], [], None)
    note = tmp_path / "note"
    tree = Tree(entry.leaf for entry in ENTRIES)
    note.write_text(KEY.sign("cell1", 30, tree.root(30)))
    assert verify(tmp_path, [file], [str(KEYS[0])], [note], None)
    note.write_text(KEY.sign("cell1", 30, tree.root(29)))
    assert not verify(tmp_path, [file], [str(KEYS[0])], [note], None)
    assert "is not what was signed in the given checkpoint" in capsys.readouterr().out


def test_a_checkpoint_that_is_given_is_never_passed_over(tmp_path: Path) -> None:
    tree = Tree(entry.leaf for entry in ENTRIES)
    good, bad = (KEY.sign("cell1", 30, tree.root(size)) for size in (30, 29))
    file, key, note = write(tmp_path / "log.jsonl", ENTRIES), [str(KEYS[0])], tmp_path / "note"
    for nothing in ("", "hello", good.partition("\n\n")[0], "\xff"):
        note.write_text(nothing, encoding="latin-1" if nothing else None)
        with pytest.raises(Invalid, match="note holds no checkpoint"):
            verify(tmp_path, [file], key, [note], None)
    with pytest.raises(Invalid, match="gone cannot be read"):
        verify(tmp_path, [file], key, [tmp_path / "gone"], None)
    note.write_text(KEY.sign("api", 30, tree.root(30)))
    with pytest.raises(Invalid, match="lightcurve/test/api, and no log of that cell is looked at"):
        verify(tmp_path, [file], key, [note], None)
    printed = "cell cell1: positions 1 to 30 are signed\n\n{}\n"
    note.write_text(printed.format(good) * 2)
    assert verify(tmp_path, [file], key, [note], None)
    note.write_text(printed.format(good) + printed.format(bad))
    assert not verify(tmp_path, [file], key, [note], None)


def test_text_that_is_none_is_kept_as_it_is(tmp_path: Path) -> None:
    entry = Entry(1, "cell.cell1.event.x.y", b"NATS/1.0\r\nce-id: \xff\r\n\r\n", b"\xff\x00")
    file = write(tmp_path / "log.jsonl", [entry], last=1)
    assert [line.entry for lines in LogFile(file).batches() for line in lines] == [entry]
