"""Damage to one file of a run or bundle: as a bad disk does it, and as someone does who can make hashes anew.

`random_alteration(folder, rng)` damages a file in a random way; `ALTERATIONS` holds the ways by name. With `rehash` the
manifest of a run, or SHA256SUMS and the sizes in the card of a bundle, are those of the damaged files.
"""

import hashlib
import io
import json
import os
import random
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
LISTS = (MANIFEST, SUMS)
LARGEST_HASHED_BYTES = 1 << 28
"""A larger file, which is sparse here, is sealed with a made-up hash."""

HOSTILE = (
    *("null", "true", "-1", "0", "1", "0.5", "1e-300", "1e308", "-1e308", "1e999", "NaN", "Infinity"),
    *("9" * 400, "9" * 5000, '""', '"text"', '"\\u0000"', '"\\ud800"', '"../card.json"', '"/dev/zero"', "[]", "{}"),
    *('"' + 100_000 * "x" + '"', "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900),
)
"""JSON in the place of a value, some of it beyond what JSON allows."""

Alter = Callable[[Path, random.Random], None]


@dataclass(frozen=True)
class Alteration:
    """One way to damage a file."""

    alter: Alter
    suffixes: tuple[str, ...] = ()
    """Of the files that it suits; empty is all."""

    def suits(self, file: Path) -> bool:
        """Whether a file may be damaged so."""
        return not self.suffixes or file.suffix in self.suffixes or file.name in self.suffixes


def random_alteration(
    folder: Path, rng: random.Random, *, rehash: bool, files: tuple[str, ...] = (), name: str = ""
) -> str:
    """Damage one file of a run or bundle.

    Args:
        folder: A run or a bundle, which is changed.
        rng: Decides what is damaged, and how.
        rehash: Make the hashes and sizes anew.
        files: Of which one is damaged; empty is any.
        name: The way, of ALTERATIONS; empty is any.

    Returns:
        The file and how it was damaged.
    """
    found = [folder / file for file in files] or sorted(path for path in folder.rglob("*") if path.is_file())
    ways = {name: ALTERATIONS[name]} if name else ALTERATIONS
    suiting = {path: [way for way, one in ways.items() if one.suits(path)] for path in found}
    path = rng.choice([path for path, names in suiting.items() if names])
    way = rng.choice(suiting[path])
    ALTERATIONS[way].alter(path, rng)
    if rehash and path.name not in LISTS:
        seal(folder)
    return f"{path.relative_to(folder)}: {way}"


def seal(folder: Path) -> None:
    """Make the hashes and sizes of a run or bundle anew, of whatever its files are now."""
    if (folder / SUMS).is_file():
        _seal_card(folder)
        lines = [f"{digest}  {name}\n" for name, (digest, _) in _listed(folder, SUMS)]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    else:
        facts = {name: {"sha256": digest, "bytes": size} for name, (digest, size) in _listed(folder, MANIFEST)}
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _listed(folder: Path, own: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """Name, hash and size of each file; those of nothing where it is no file, or one that is too large to hash."""
    for path in sorted(folder.rglob("*")):
        if path != folder / own and (path.is_symlink() or not path.is_dir()):
            content = _content(path)
            size = len(content) or path.lstat().st_size
            yield path.relative_to(folder).as_posix(), (hashlib.sha256(content).hexdigest(), size)


def _content(path: Path) -> bytes:
    if path.is_file() and path.stat().st_size <= LARGEST_HASHED_BYTES and not path.resolve().is_relative_to("/proc"):
        return path.read_bytes()
    return b""


def _seal_card(folder: Path) -> None:
    """Sizes and hashes of the models in a bundle's card, where it can still be read."""
    path = folder / "card.json"
    try:
        card = json.loads(_content(path).decode("utf-8"))
        before = json.dumps(card)
        for facts in (*card["variants"].values(), card["front_end"]):
            if "bytes" in facts:
                content = _content(folder / facts["file"])
                facts |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    if json.dumps(card) != before and not path.is_symlink():
        path.write_text(json.dumps(card), encoding="utf-8")


# Any file.


def flip_bit(path: Path, rng: random.Random) -> None:
    """One bit of one byte."""
    content = bytearray(path.read_bytes() or b"\0")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def scramble(path: Path, rng: random.Random) -> None:
    """Twenty bytes here and there."""
    content = bytearray(path.read_bytes() or b"\0")
    for _ in range(20):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def zero_block(path: Path, rng: random.Random) -> None:
    """A block of 512 bytes, as a disk loses it."""
    content = path.read_bytes()
    first = rng.randrange(0, len(content) + 1, 512)
    path.write_bytes(content[:first] + bytes(len(content[first : first + 512])) + content[first + 512 :])


def truncate(path: Path, rng: random.Random) -> None:
    """The rest from anywhere on."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def append(path: Path, rng: random.Random) -> None:
    """Some bytes behind the end."""
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 1000)))


def empty(path: Path, rng: random.Random) -> None:
    """All of it."""
    path.write_bytes(b"")


def noise(path: Path, rng: random.Random) -> None:
    """Random bytes instead."""
    path.write_bytes(rng.randbytes(rng.randrange(1, 10_000)))


def enormous(path: Path, rng: random.Random) -> None:
    """64 GiB, which the disk need not hold."""
    os.truncate(path, 1 << 36)


def remove(path: Path, rng: random.Random) -> None:
    """The file itself."""
    path.unlink()


def swap(path: Path, rng: random.Random) -> None:
    """Another file of the folder instead, of the same kind if there is one."""
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    same = [other for other in others if other.suffix == path.suffix]
    path.write_bytes(rng.choice(same or others).read_bytes())


def link(path: Path, rng: random.Random) -> None:
    """A link to the same content elsewhere."""
    target = path.parent.parent / f"{path.parent.name}-{path.name}"
    shutil.copyfile(path, target)
    path.unlink()
    path.symlink_to(target)


def link_to_device(path: Path, rng: random.Random) -> None:
    """A link to a file without end."""
    path.unlink()
    path.symlink_to(rng.choice(["/dev/zero", "/dev/urandom", "/proc/self/environ", "/proc/kmsg"]))


def dangling(path: Path, rng: random.Random) -> None:
    """A link to nothing, or to itself."""
    path.unlink()
    path.symlink_to(rng.choice(["nothing", path.name]))


def fifo(path: Path, rng: random.Random) -> None:
    """A pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path, rng: random.Random) -> None:
    """A folder of the same name."""
    path.unlink()
    path.mkdir()


# JSON.


def _places(value: Any, at: tuple[Any, ...] = (), longest: int = 3) -> Iterator[tuple[Any, ...]]:
    """Every place of a document, as keys; of each list the first `longest` items."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*at, key), longest)
    elif isinstance(value, list):
        for number, inner in enumerate(value[:longest]):
            yield from _places(inner, (*at, number), longest)


def _holder(document: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        document = document[key]
    return document


def _any_place(path: Path, rng: random.Random) -> tuple[Any, tuple[Any, ...]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return document, rng.choice([place for place in _places(document) if place] or [()])


def hostile_value(path: Path, rng: random.Random) -> None:
    """One of HOSTILE in the place of a value."""
    document, place = _any_place(path, rng)
    mark = "the place of a hostile value"
    if place:
        _holder(document, place)[place[-1]] = mark
    else:
        document = mark
    text = json.dumps(document, ensure_ascii=False)
    path.write_text(text.replace(f'"{mark}"', rng.choice(HOSTILE)), encoding="utf-8")


def remove_key(path: Path, rng: random.Random) -> None:
    """A key or item with all below it."""
    document, place = _any_place(path, rng)
    if place:
        del _holder(document, place)[place[-1]]
    path.write_text(json.dumps(document), encoding="utf-8")


def double_key(path: Path, rng: random.Random) -> None:
    """The first key once more, with another value."""
    document = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(document)
    if isinstance(document, dict) and document:
        text = f"{{{json.dumps(next(iter(document)))}: 7, {text[1:]}"
    path.write_text(text, encoding="utf-8")


def deep(path: Path, rng: random.Random) -> None:
    """Lists in lists, 200,000 of them."""
    path.write_text(200_000 * "[" + 200_000 * "]")


def other_encoding(path: Path, rng: random.Random) -> None:
    """UTF-16, or a byte that is none of UTF-8."""
    text = path.read_text(encoding="utf-8")
    within = text.replace("e", "\xe9", 1).encode("latin-1", "replace")
    path.write_bytes(rng.choice([text.encode("utf-16"), text.encode() + b"\xff", within]))


def disorder(path: Path, rng: random.Random) -> None:
    """A list of numbers backwards, with an item twice, or with text among them."""
    document = json.loads(path.read_text(encoding="utf-8"))
    lists = [place for place in _places(document) if place and isinstance(_holder(document, place)[place[-1]], list)]
    if lists:
        place = rng.choice(lists)
        items = _holder(document, place)[place[-1]]
        rng.choice([items.reverse, lambda: items.extend(items[:2]), lambda: items.insert(0, "text"), items.clear])()
    path.write_text(json.dumps(document), encoding="utf-8")


def scale_number(path: Path, rng: random.Random) -> None:
    """A number times something: what no check of ranges need find."""
    document = json.loads(path.read_text(encoding="utf-8"))
    numbers = [
        place for place in _places(document) if place and type(_holder(document, place)[place[-1]]) in (int, float)
    ]
    if numbers:
        place = rng.choice(numbers)
        _holder(document, place)[place[-1]] *= rng.choice([-1, 0, 0.99, 1.01, 1e3, 1e12, 1e300])
    path.write_text(json.dumps(document), encoding="utf-8")


# TOML and CSV.


def hostile_setting(path: Path, rng: random.Random) -> None:
    """One of HOSTILE in the place of a setting."""
    lines = path.read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if " = " in line]
    if settings:
        number = rng.choice(settings)
        lines[number] = f"{lines[number].partition(' = ')[0]} = {rng.choice(HOSTILE)}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shuffle_lines(path: Path, rng: random.Random) -> None:
    """Lines missing, doubled, or in another order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    way = rng.choice(["order", "twice", "missing"])
    if way == "order":
        rng.shuffle(lines)
    elif way == "twice":
        lines.append(rng.choice(lines))
    else:
        lines.pop(rng.randrange(len(lines)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def other_words(path: Path, rng: random.Random) -> None:
    """A word that occurs in the file replaced by another, everywhere."""
    text = path.read_text(encoding="utf-8")
    word = rng.choice(["train", "test", "part", ",", "\n"])
    path.write_text(text.replace(word, rng.choice(["x", "", "\x00", '"'])), encoding="utf-8")


# Lists of hashes.


def hostile_name(path: Path, rng: random.Random) -> None:
    """Another name in the place of a file's."""
    text = path.read_text(encoding="utf-8")
    names = ["/etc/passwd", "../card.json", "c/../../card.json", ".", "", "a/b/c/d", "card.json", "\\u0000", "x" * 5000]
    names = [name for name in names if name != "\\u0000" or path.suffix == ".json"]
    victim = rng.choice(["card.json", "config.toml", "metrics.json", "model.keras", "float32.tflite", "soil_scan.py"])
    path.write_text(text.replace(victim, rng.choice(names), 1), encoding="utf-8")


def hostile_hash(path: Path, rng: random.Random) -> None:
    """A hash that is longer, shorter, in capitals, or none."""
    text = path.read_text(encoding="utf-8")
    digest = rng.choice(re.findall("[0-9a-f]{64}", text))
    other = rng.choice([digest.upper(), digest[:-1], digest + "0", "", "g" * 64])
    path.write_text(text.replace(digest, other, 1), encoding="utf-8")


# ZIP: model.keras and .npz.


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_members(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def member_bit(path: Path, rng: random.Random) -> None:
    """Bits of a member, with a checksum that fits."""
    members = _members(path)
    name = rng.choice(list(members))
    content = bytearray(members[name])
    for _ in range(rng.choice([1, 5, 100])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _write_members(path, members | {name: bytes(content)})


def member_end(path: Path, rng: random.Random) -> None:
    """The rest of a member from anywhere on."""
    members = _members(path)
    name = rng.choice(list(members))
    _write_members(path, members | {name: members[name][: rng.randrange(len(members[name]))]})


def member_gone(path: Path, rng: random.Random) -> None:
    """A whole member."""
    members = _members(path)
    del members[rng.choice(list(members))]
    _write_members(path, members)


def member_elsewhere(path: Path, rng: random.Random) -> None:
    """One member more, whose name leads out of the folder."""
    _write_members(path, _members(path) | {rng.choice(["../evil", "/tmp/evil", "assets/../../evil"]): b"evil"})


def bomb(path: Path, rng: random.Random) -> None:
    """A member that unpacks to 3 GiB of zeros from 3 MB."""
    members = _members(path)
    name = rng.choice(list(members))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block, size = bytes(1 << 20), 3 << 10
    # A full flush makes the same bytes of the same block every time.
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    second = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = first + second * (size - 1) + packer.flush()
    checksum = 0
    for _ in range(size):
        checksum = zlib.crc32(block, checksum)
    raw = name.encode()
    fields = (0, zipfile.ZIP_DEFLATED, 0, 33, checksum, len(packed), size << 20, len(raw))
    del members[name]
    rest = io.BytesIO()
    with zipfile.ZipFile(rest, "w") as archive:
        for other, content in members.items():
            archive.writestr(other, content)
    begin = archive.start_dir
    head, directory = rest.getvalue()[:begin], rest.getvalue()[begin:-22]
    head += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *fields[:4], *fields[4:], 0) + raw + packed
    directory += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, *fields[:4], *fields[4:], 0, 0, 0, 0, 0, begin) + raw
    count = len(members) + 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(head), 0)
    path.write_bytes(head + directory + end)


def crowd(path: Path, rng: random.Random) -> None:
    """60,000 members more, all empty."""
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(60_000):
            archive.writestr(f"{number:0100d}", b"")


def object_array(path: Path, rng: random.Random) -> None:
    """An array of objects, which only pickle reads."""
    import numpy as np

    with np.load(path, allow_pickle=False) as found:
        arrays = dict(found)
    arrays[rng.choice(list(arrays))] = np.array([{"a": 1}], dtype=object)
    np.savez(path, **arrays)


def graph_value(path: Path, rng: random.Random) -> None:
    """Another value somewhere in the graph of model.keras."""
    members = _members(path)
    document = json.loads(members["config.json"])
    place = rng.choice([place for place in _places(document, longest=1000) if len(place) > 1])
    mark = "the place of a hostile value"
    _holder(document, place)[place[-1]] = mark
    choices = (
        *HOSTILE,
        "2",
        "1000",
        "1000000",
        "1000000000",
        '"Lambda"',
        '"TFSMLayer"',
        '"StringLookup"',
        '"builtins"',
    )
    text = json.dumps(document).replace(f'"{mark}"', rng.choice(choices))
    _write_members(path, members | {"config.json": text.encode("utf-8", "replace")})


def graph_class(path: Path, rng: random.Random) -> None:
    """A layer of model.keras becomes another one."""
    members = _members(path)
    document = json.loads(members["config.json"])
    places = [place for place in _places(document, longest=1000) if place and place[-1] == "class_name"]
    layers = ["Lambda", "TFSMLayer", "StringLookup", "Dense", "Softmax", "function", "Embedding"]
    layer = _holder(document, rng.choice(places))
    layer["class_name"] = rng.choice(layers)
    layer["module"] = rng.choice(["keras.layers", "builtins", "os", None])
    _write_members(path, members | {"config.json": json.dumps(document).encode()})


def graph_size(path: Path, rng: random.Random) -> None:
    """A layer of model.keras of a size that no memory holds."""
    members = _members(path)
    document = json.loads(members["config.json"])
    names = ("units", "filters", "landmarks", "count", "kernel_size")
    place = rng.choice([place for place in _places(document, longest=1000) if place and place[-1] in names])
    _holder(document, place)[place[-1]] = rng.choice([100_000, 1_000_000, 10**9, 10**18, -1, 0])
    _write_members(path, members | {"config.json": json.dumps(document).encode()})


def weights(path: Path, rng: random.Random) -> None:
    """The arrays of model.keras: one that is huge, absent, of another shape or type, or stands elsewhere."""
    import h5py
    import numpy as np

    members = _members(path)
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, found: names.append(name) if isinstance(found, h5py.Dataset) else None)
        name = rng.choice(names)
        shape = file[name].shape
        del file[name]
        way = rng.choice(["huge", "absent", "shape", "text", "elsewhere", "nan"])
        if way == "huge":
            file.create_dataset(name, (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip")
        elif way == "shape":
            file.create_dataset(name, data=np.zeros((*shape, 3), "f4"))
        elif way == "text":
            file.create_dataset(name, data=np.full(shape, b"text"))
        elif way == "elsewhere":
            file[name] = h5py.ExternalLink("/etc/passwd", "/")
        elif way == "nan":
            file.create_dataset(name, data=np.full(shape, np.nan, "f4"))
    _write_members(path, members | {"model.weights.h5": buffer.getvalue()})


_JSON, _ZIP, _LINES = (".json",), (".keras", ".npz"), (".toml", ".csv", SUMS)
_WAYS: dict[tuple[str, ...], tuple[Alter, ...]] = {
    (): (
        *(flip_bit, scramble, zero_block, truncate, append, empty, noise, enormous, remove, swap),
        *(link, link_to_device, dangling, fifo, directory),
    ),
    _JSON: (hostile_value, remove_key, double_key, deep, disorder, scale_number),
    (*_JSON, *_LINES): (other_encoding,),
    (".toml",): (hostile_setting,),
    _LINES: (shuffle_lines, other_words),
    LISTS: (hostile_name, hostile_hash),
    _ZIP: (member_bit, member_end, member_gone, member_elsewhere, bomb, crowd),
    (".npz",): (object_array,),
    (".keras",): (graph_value, graph_class, graph_size, weights),
}
ALTERATIONS = {way.__name__: Alteration(way, suffixes) for suffixes, ways in _WAYS.items() for way in ways}
"""Name -> way."""
