"""Laws of reading files that may be damaged: what is read, and what is refused in one line."""

import json
import os
import struct
import zipfile

import numpy as np
import pytest

from relple_tf.artefacts import reading
from relple_tf.artefacts.reading import check_archive, opened, parse_json, read_arrays, read_bytes, read_json, readable
from relple_tf.artefacts.schema import (
    ASCENDING_NM,
    NAME,
    TEXT,
    check,
    integer,
    named,
    number,
    one_of,
    or_missing,
    or_null,
)
from relple_tf.errors import InputError

REMEDY = "train it again"


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as refused:
        call(*arguments, **options)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert message.endswith(f"; {REMEDY}")
    return message


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "card.json"
    path.write_text('{"a": 1}')
    return path


def test_a_regular_file_is_read(file):
    assert read_bytes(file, REMEDY) == b'{"a": 1}'
    assert read_json(file, REMEDY) == {"a": 1}


@pytest.mark.parametrize("target", ["card.json", "/dev/zero", "/proc/self/environ", "nothing", "link"])
def test_links_are_not_followed(file, target):
    link = file.with_name("link")
    link.symlink_to(target)
    assert "expected a regular file" in refusal(read_bytes, link, REMEDY)


def test_pipes_and_folders_are_not_opened(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # no process writes into it, so opening it would block
    for path in (tmp_path, tmp_path / "pipe"):
        assert "expected a regular file" in refusal(read_bytes, path, REMEDY)
    assert "No such file" in refusal(read_bytes, tmp_path / "none", REMEDY)
    assert "Not a directory" in refusal(read_bytes, file / "none", REMEDY)


def test_a_large_file_is_refused_before_it_is_read(file):
    os.truncate(file, 1 << 40)  # a sparse file, larger than disk and memory
    assert "received 1,099,511,627,776" in refusal(read_bytes, file, REMEDY)


def test_no_more_is_read_than_the_size_of_the_file():
    """Files in /proc have size 0 but are not empty."""
    with opened(reading.Path("/proc/self/environ"), REMEDY) as file:
        assert os.fstat(file.fileno()).st_size == 0
    assert read_bytes(reading.Path("/proc/self/environ"), REMEDY) == b""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        ('{"a": 1}'.encode("utf-16"), "UnicodeDecodeError"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key occurs twice"),
        (b"[NaN]", "expected a number, received NaN"),
        (b"[-Infinity]", "expected a number, received -Infinity"),
        (b"9" * 5000, "ValueError"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"a":' * 200_000, "RecursionError"),
    ],
)
def test_invalid_json_is_refused(file, content, message):
    assert message in refusal(parse_json, content, file, REMEDY)
    assert str(file) in refusal(parse_json, content, file, REMEDY)


def test_nan_is_accepted_on_request(file):
    assert np.isnan(parse_json(b"[NaN]", file, REMEDY, nan=True)[0])


def test_an_input_error_is_not_changed_and_any_other_exception_becomes_one(file):
    with pytest.raises(InputError, match=r"^unchanged$"), readable(file, REMEDY):
        raise InputError("unchanged")
    for error in (KeyError("a\nb"), RecursionError(), MemoryError(), ValueError("x" * 10_000), OSError("disk")):
        with pytest.raises(InputError) as refused, readable(file, REMEDY):
            raise error
        assert len(str(refused.value).splitlines()) == 1
        assert len(str(refused.value)) < len(str(file)) + 300
    with pytest.raises(KeyboardInterrupt), readable(file, REMEDY):
        raise KeyboardInterrupt


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_arrays_are_read_in_the_order_of_writing(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a/0": np.array("text"), "empty": np.zeros((0, 4), "int8")}
    loaded = read_arrays(npz(tmp_path / "state.npz", **arrays), REMEDY)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


def test_arrays_of_objects_are_refused(tmp_path):
    path = npz(tmp_path / "state.npz", a=np.array([{"code": 1}], dtype=object))
    assert "allow_pickle=False" in refusal(read_arrays, path, REMEDY)


def test_an_archive_with_too_much_content_is_not_unpacked(tmp_path, monkeypatch):
    path = npz(tmp_path / "state.npz", a=np.zeros(1_000_000), b=np.zeros(1_000_000))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    assert "unpacked bytes, received 16,0" in refusal(read_arrays, path, REMEDY, 16_000_000)


def test_an_archive_with_too_many_entries_is_not_listed(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1000):
            archive.writestr(str(number), b"")
    monkeypatch.setattr(reading, "LARGEST_DIRECTORY_BYTES", 40_000)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("listed"))
    assert "a directory of at most 40,000 bytes, received 48,890" in refusal(read_arrays, path, REMEDY)


def test_the_directory_of_a_zip64_archive_is_checked(tmp_path, monkeypatch):
    """Archives with more than 65,535 entries are in the ZIP64 format."""
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number:05}", b"")
    monkeypatch.setattr(reading, "LARGEST_DIRECTORY_BYTES", 3_000_000)
    with (
        path.open("rb") as file,
        pytest.raises(ValueError, match=r"a directory of at most 3,000,000 bytes, received 3,570,000"),
    ):
        check_archive(file, 1)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY" + bytes(200), b"PK\5\6" + bytes(18)])
def test_a_file_that_is_not_npz_is_refused(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    if content[:4] == b"PK\5\6":
        assert read_arrays(path, REMEDY) == {}
    else:
        assert "damaged" in refusal(read_arrays, path, REMEDY)


def test_no_more_than_the_declared_size_of_an_entry_is_unpacked(tmp_path):
    """Therefore checking the sizes in the directory is sufficient."""
    path = npz(tmp_path / "state.npz", a=np.zeros(100_000))
    content = path.read_bytes()
    directory = content.rindex(b"PK\1\2")
    path.write_bytes(content[: directory + 24] + struct.pack("<L", 1000) + content[directory + 28 :])
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        archive.read("a.npy")
    assert "damaged" in refusal(read_arrays, path, REMEDY)


RULES = {
    "": named(NAME),
    "limit": number(0, 1e9),
    "count": integer(1, 10),
    "kind": one_of("a", "b"),
    "text": or_missing(TEXT),
    "nested": or_null(named(NAME)),
    "nested.*": number(-1, 1),
    "bands": ASCENDING_NM,
}
VALID = {"limit": 1, "count": 3, "kind": "a", "nested": {"x": 0.5, "y": -1}, "bands": [1000, 1001.5]}
INVALID = {
    "no object": ([], "expected an object"),
    "a hostile key": (VALID | {"../a": 1}, "each a plain name"),
    "nothing": ({name: value for name, value in VALID.items() if name != "limit"}, "limit: .*received nothing"),
    "nan": (VALID | {"limit": float("nan")}, "limit: expected a number from 0 to 1e.09, received nan"),
    "infinite": (VALID | {"limit": float("inf")}, "limit"),
    "negative": (VALID | {"limit": -1e-9}, "limit"),
    "absurd": (VALID | {"limit": 1e308}, "limit"),
    "an enormous integer": (VALID | {"limit": 10**400}, "limit"),
    "a boolean": (VALID | {"limit": True}, "limit: .*received True"),
    "a number as text": (VALID | {"limit": "1"}, "limit"),
    "a fraction": (VALID | {"count": 1.5}, "count"),
    "too many": (VALID | {"count": 11}, "count"),
    "another option": (VALID | {"kind": "c"}, "kind: expected one of a, b, received 'c'"),
    "a list for an option": (VALID | {"kind": ["a"]}, "kind: .*received a list"),
    "text that cannot be written": (VALID | {"text": "\ud800"}, "text"),
    "endless text": (VALID | {"text": "x" * 10_001}, "text"),
    "inner": (VALID | {"nested": {"x": 0.5, "y": 2}}, r"nested\.y: expected a number from -1 to 1, received 2"),
    "one band": (VALID | {"bands": [1000]}, "bands"),
    "bands backwards": (VALID | {"bands": [1001, 1000]}, "bands"),
    "a band twice": (VALID | {"bands": [1000, 1000]}, "bands"),
    "a band of text": (VALID | {"bands": [1000, "1001"]}, "bands"),
    "a band at 0": (VALID | {"bands": [0, 1000]}, "bands"),
}


def test_valid_content_passes(file):
    for content in (VALID, VALID | {"nested": None}, VALID | {"text": "µ"}, VALID | {"more": [1]}):
        check(content, RULES, file, REMEDY)


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_entry_is_named(file, name):
    content, message = INVALID[name]
    pattern = message if name == "no object" else f".*{message}"
    with pytest.raises(InputError, match=f"{file.name}: {pattern}") as refused:
        check(content, RULES, file, REMEDY)
    assert len(str(refused.value).splitlines()) == 1


def test_a_deeply_nested_invalid_value_is_named_by_its_type(file):
    deep = json.loads("[" * 900 + "]" * 900)
    with pytest.raises(InputError, match="received a list"):
        check(VALID | {"limit": deep}, RULES, file, REMEDY)


def test_long_and_unprintable_text_is_shortened():
    assert reading.short("a\n\x1b[2J b") == "a ?[2J b"
    assert reading.short("x" * 1000, 10) == "xxxxxxxxxx..."
