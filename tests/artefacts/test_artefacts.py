"""Files that may be damaged: what is opened, unpacked and taken for content, and what is refused in one line."""

import json
import os
import struct
import zipfile

import numpy as np
import pytest

from relple_tf.artefacts import reading as artefacts
from relple_tf.artefacts.reading import check_archive, opened, parsed, read_arrays, read_bytes, read_json, readable
from relple_tf.artefacts.schema import (
    ASCENDING_NM,
    NAME,
    TEXT,
    check,
    named,
    number,
    one_of,
    or_missing,
    or_null,
    whole,
)
from relple_tf.errors import InputError

WAY_OUT = "train it again"


def refusal(call, *arguments, **options):
    with pytest.raises(InputError) as refused:
        call(*arguments, **options)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    assert message.endswith(f"; {WAY_OUT}")
    return message


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "card.json"
    path.write_text('{"a": 1}')
    return path


def test_a_regular_file_is_read(file):
    assert read_bytes(file, WAY_OUT) == b'{"a": 1}'
    assert read_json(file, WAY_OUT) == {"a": 1}


@pytest.mark.parametrize("target", ["card.json", "/dev/zero", "/proc/self/environ", "nothing", "link"])
def test_no_link_is_followed(file, target):
    link = file.with_name("link")
    link.symlink_to(target)
    assert "expected a regular file" in refusal(read_bytes, link, WAY_OUT)


def test_what_is_no_file_is_not_opened(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to: opening it would wait
    for path in (tmp_path, tmp_path / "pipe"):
        assert "expected a regular file" in refusal(read_bytes, path, WAY_OUT)
    assert "No such file" in refusal(read_bytes, tmp_path / "none", WAY_OUT)
    assert "Not a directory" in refusal(read_bytes, file / "none", WAY_OUT)


def test_a_large_file_is_refused_before_it_is_read(file):
    os.truncate(file, 1 << 40)  # the disk holds no terabyte, and no memory could
    assert "received 1,099,511,627,776" in refusal(read_bytes, file, WAY_OUT)


def test_no_more_is_read_than_a_file_says_it_holds():
    """Files of /proc say that they are empty, whatever they hold."""
    with opened(artefacts.Path("/proc/self/environ"), WAY_OUT) as found:
        assert os.fstat(found.fileno()).st_size == 0
    assert read_bytes(artefacts.Path("/proc/self/environ"), WAY_OUT) == b""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        ('{"a": 1}'.encode("utf-16"), "UnicodeDecodeError"),
        (b'{"a": 1, "a": 2}', "a key occurs twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key occurs twice"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"9" * 5000, "ValueError"),
        (b"[" * 200_000, "RecursionError"),
        (b'{"a":' * 200_000, "RecursionError"),
    ],
)
def test_what_is_no_json_is_refused(file, content, said):
    assert said in refusal(parsed, content, file, WAY_OUT)
    assert str(file) in refusal(parsed, content, file, WAY_OUT)


def test_numbers_that_json_has_not_are_read_on_demand(file):
    assert np.isnan(parsed(b"[NaN]", file, WAY_OUT, nan=True)[0])


def test_a_refusal_stays_what_it_is_and_everything_else_becomes_one(file):
    with pytest.raises(InputError, match=r"^as it was$"), readable(file, WAY_OUT):
        raise InputError("as it was")
    for error in (KeyError("a\nb"), RecursionError(), MemoryError(), ValueError("x" * 10_000), OSError("disk")):
        with pytest.raises(InputError) as refused, readable(file, WAY_OUT):
            raise error
        assert len(str(refused.value).splitlines()) == 1
        assert len(str(refused.value)) < len(str(file)) + 300
    with pytest.raises(KeyboardInterrupt), readable(file, WAY_OUT):
        raise KeyboardInterrupt


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_arrays_come_back_in_order(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a/0": np.array("text"), "empty": np.zeros((0, 4), "int8")}
    found = read_arrays(npz(tmp_path / "state.npz", **arrays), WAY_OUT)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_no_array_holds_objects(tmp_path):
    path = npz(tmp_path / "state.npz", a=np.array([{"code": 1}], dtype=object))
    assert "allow_pickle=False" in refusal(read_arrays, path, WAY_OUT)


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    path = npz(tmp_path / "state.npz", a=np.zeros(1_000_000), b=np.zeros(1_000_000))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    assert "unpacks to 16,0" in refusal(read_arrays, path, WAY_OUT, 16_000_000)


def test_a_crowd_of_members_is_not_listed(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1000):
            archive.writestr(str(number), b"")
    monkeypatch.setattr(artefacts, "LARGEST_DIRECTORY_BYTES", 40_000)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("listed"))
    assert "a directory of 48,890 bytes" in refusal(read_arrays, path, WAY_OUT)


def test_a_large_zip_has_its_directory_measured_too(tmp_path, monkeypatch):
    """In the form for more than 65,535 members."""
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(70_000):
            archive.writestr(f"{number:05}", b"")
    monkeypatch.setattr(artefacts, "LARGEST_DIRECTORY_BYTES", 3_000_000)
    with path.open("rb") as file, pytest.raises(ValueError, match=r"a directory of 3,570,000 bytes"):
        check_archive(file, 1)


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY" + bytes(200), b"PK\5\6" + bytes(18)])
def test_what_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    if content[:4] == b"PK\5\6":
        assert read_arrays(path, WAY_OUT) == {}
    else:
        assert "damaged" in refusal(read_arrays, path, WAY_OUT)


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_says(tmp_path):
    """So that the sizes of the directory may be believed."""
    path = npz(tmp_path / "state.npz", a=np.zeros(100_000))
    content = path.read_bytes()
    directory = content.rindex(b"PK\1\2")
    path.write_bytes(content[: directory + 24] + struct.pack("<L", 1000) + content[directory + 28 :])
    with zipfile.ZipFile(path) as archive, pytest.raises(zipfile.BadZipFile, match="CRC"):
        archive.read("a.npy")
    assert "damaged" in refusal(read_arrays, path, WAY_OUT)


RULES = {
    "": named(NAME),
    "limit": number(0, 1e9),
    "count": whole(1, 10),
    "kind": one_of("a", "b"),
    "text": or_missing(TEXT),
    "nested": or_null(named(NAME)),
    "nested.*": number(-1, 1),
    "bands": ASCENDING_NM,
}
WHOLE = {"limit": 1, "count": 3, "kind": "a", "nested": {"x": 0.5, "y": -1}, "bands": [1000, 1001.5]}
WRONG = {
    "no object": ([], "expected an object"),
    "a hostile key": (WHOLE | {"../a": 1}, "each a plain name"),
    "nothing": ({name: value for name, value in WHOLE.items() if name != "limit"}, "limit: .*received nothing"),
    "nan": (WHOLE | {"limit": float("nan")}, "limit: expected a number from 0 to 1e.09, received nan"),
    "infinite": (WHOLE | {"limit": float("inf")}, "limit"),
    "negative": (WHOLE | {"limit": -1e-9}, "limit"),
    "absurd": (WHOLE | {"limit": 1e308}, "limit"),
    "an enormous integer": (WHOLE | {"limit": 10**400}, "limit"),
    "a boolean": (WHOLE | {"limit": True}, "limit: .*received True"),
    "a number as text": (WHOLE | {"limit": "1"}, "limit"),
    "a fraction": (WHOLE | {"count": 1.5}, "count"),
    "too many": (WHOLE | {"count": 11}, "count"),
    "another option": (WHOLE | {"kind": "c"}, "kind: expected one of a, b, received 'c'"),
    "a list for an option": (WHOLE | {"kind": ["a"]}, "kind: .*received a list"),
    "text that cannot be written": (WHOLE | {"text": "\ud800"}, "text"),
    "endless text": (WHOLE | {"text": "x" * 10_001}, "text"),
    "inner": (WHOLE | {"nested": {"x": 0.5, "y": 2}}, r"nested\.y: expected a number from -1 to 1, received 2"),
    "one band": (WHOLE | {"bands": [1000]}, "bands"),
    "bands backwards": (WHOLE | {"bands": [1001, 1000]}, "bands"),
    "a band twice": (WHOLE | {"bands": [1000, 1000]}, "bands"),
    "a band of text": (WHOLE | {"bands": [1000, "1001"]}, "bands"),
    "a band at 0": (WHOLE | {"bands": [0, 1000]}, "bands"),
}


def test_what_keeps_the_rules_passes(file):
    for content in (WHOLE, WHOLE | {"nested": None}, WHOLE | {"text": "µ"}, WHOLE | {"more": [1]}):
        check(content, RULES, file, WAY_OUT)


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_a_rule_is_named(file, name):
    content, said = WRONG[name]
    with pytest.raises(InputError, match=f"{file.name}: {said if name == 'no object' else f'.*{said}'}") as refused:
        check(content, RULES, file, WAY_OUT)
    assert len(str(refused.value).splitlines()) == 1


def test_a_deep_value_in_the_wrong_place_is_named_by_its_kind(file):
    deep = json.loads("[" * 900 + "]" * 900)
    with pytest.raises(InputError, match="received a list"):
        check(WHOLE | {"limit": deep}, RULES, file, WAY_OUT)


def test_long_and_unprintable_text_is_shortened():
    assert artefacts.short("a\n\x1b[2J b") == "a ?[2J b"
    assert artefacts.short("x" * 1000, 10) == "xxxxxxxxxx..."
