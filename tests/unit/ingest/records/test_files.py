"""A record on disk: readable at every moment, whole at its end, and a sentence for every way in which it is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import NotARecord, RecordDamaged, RecordError
from ingest.records.format import TEXT, EndEntry, Entry, FrameEntry, Header, encode, encode_header
from ingest.records.reading import RecordReader
from ingest.records.stream import CompressedFile
from ingest.records.writing import FLUSH_INTERVAL, RecordWriter

HEADER = Header("trades", 1)
FRAMES: list[Entry] = [FrameEntry(at, TEXT, b'{"number":%d}' % at) for at in range(200)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("records") / "whole.rec.zst"
    writer = RecordWriter(path, HEADER)
    for frame in FRAMES:
        writer.write(frame)
        if frame.at_us % 20 == 0:
            assert writer.flush()
    writer.close(EndEntry(200))
    return path.read_bytes()


def read(path: Path) -> tuple[list[Entry], str | None]:
    with RecordReader(path) as record:
        return list(record), record.problem


def read_bytes(path: Path, data: bytes) -> tuple[list[Entry], str | None]:
    path.write_bytes(data)
    try:
        return read(path)
    except RecordError as error:
        return [], str(error)


def test_a_whole_record(tmp_path: Path, whole: bytes) -> None:
    assert read_bytes(tmp_path / "r", whole) == ([*FRAMES, EndEntry(200)], None)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_file_gives_a_prefix(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(whole) - 1))
    found, problem = read_bytes(tmp_path / "r", whole[:cut])
    assert found == [*FRAMES, EndEntry(200)][: len(found)]
    # All of a record may be there where only the stream's own end is missing.
    assert problem is not None or found[-1] == EndEntry(200)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_of_the_file_gives_a_prefix(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    found, problem = read_bytes(tmp_path / "r", bytes(changed))
    assert found == [*FRAMES, EndEntry(200)][: len(found)]
    assert problem is not None or len(found) == len(FRAMES) + 1


def test_what_was_flushed_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path, now = tmp_path / "r", [0.0]
    writer = RecordWriter(path, HEADER, clock=lambda: now[0])
    writer.write(*FRAMES[:3])
    writer.flush()
    assert read(path) == (FRAMES[:3], "the record was cut short: it has no end")
    writer.write(FRAMES[3])
    now[0] += FLUSH_INTERVAL
    writer.flush_due()
    assert read(path)[0] == FRAMES[:4]
    now[0] += FLUSH_INTERVAL
    writer.write(FRAMES[4])  # an entry brings those before it to the file, too
    assert read(path)[0] == FRAMES[:5]


def test_a_record_is_for_its_owner_and_takes_no_others_place(tmp_path: Path) -> None:
    path = tmp_path / "r"
    RecordWriter(path, HEADER).close(EndEntry(0))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        RecordWriter(path, HEADER)


def test_a_disk_that_refuses_ends_the_record_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r"
    writer = RecordWriter(path, HEADER)
    writer.write(*FRAMES[:3])
    writer.flush()
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: (_ for _ in ()).throw(OSError(28, "x")))
    writer.write(FRAMES[3])
    assert not writer.flush()
    monkeypatch.setattr(os, "write", real)
    writer.write(FRAMES[4])
    writer.close(EndEntry(9))
    assert writer.failure == "No space left on device"
    assert read(path)[0] == FRAMES[:3]


def test_a_message_that_no_record_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.records.format.LONGEST", 1000)
    writer = RecordWriter(tmp_path / "r", HEADER)
    writer.write(FrameEntry(0, TEXT, b"x" * 1001))
    assert writer.failure == "an entry of 1001 bytes; at most 1000 fit"
    writer.close(EndEntry(0))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NotARecord),
        (b"\x28\xb5\x2f\xfd", RecordDamaged),
        (b"just a text", NotARecord),
        (b"\x28\xb5\x2f\xfd nonsense", RecordError),
    ],
)
def test_files_of_something_else(tmp_path: Path, content: bytes, error: type[RecordError]) -> None:
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(error):
        RecordReader(tmp_path / "r")


def test_what_was_flushed_before_the_damage_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer = RecordWriter(path, HEADER)
    for frame in FRAMES:
        writer.write(frame)
        writer.flush()
    damaged = bytearray(path.read_bytes())
    damaged += b"\xff" * 40
    found, problem = read_bytes(path, bytes(damaged))
    assert found == FRAMES
    assert problem is not None
    assert problem.startswith("the record is damaged: it does not decompress")


def test_damage_right_behind_the_header(tmp_path: Path) -> None:
    file = CompressedFile(tmp_path / "r")
    file.write(encode_header(HEADER) + encode(FRAMES[0]) + b"\xff" * 40)
    file.finish()
    file.close()
    assert read(tmp_path / "r") == ([FRAMES[0]], "the record is damaged: an entry of 4294967295 bytes")
