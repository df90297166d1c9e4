"""Damage to one file of a run or bundle, as by a faulty disk or by an attacker who can update the hashes.

`random_alteration(folder, rng)` damages a file in a random way; `ALTERATIONS` holds the alterations by name. `rehash`
updates the manifest of a run, or SHA256SUMS and the sizes in the card of a bundle, to the damaged files.
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
"""Larger files, which are sparse here, are not hashed; they get the hash of an empty file."""

HOSTILE = (
    *("null", "true", "-1", "0", "1", "0.5", "1e-300", "1e308", "-1e308", "1e999", "NaN", "Infinity"),
    *("9" * 400, "9" * 5000, '""', '"text"', '"\\u0000"', '"\\ud800"', '"../card.json"', '"/dev/zero"', "[]", "{}"),
    *('"' + 100_000 * "x" + '"', "[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900),
)
"""JSON values that replace a value; some are not valid JSON."""

Alter = Callable[[Path, random.Random], None]


@dataclass(frozen=True)
class Alteration:
    """A function that damages a file, and the files that it applies to."""

    alter: Alter
    suffixes: tuple[str, ...] = ()
    """Suffixes or names of the files that it applies to; empty means all."""

    def applies_to(self, file: Path) -> bool:
        """Whether the alteration applies to a file."""
        return not self.suffixes or file.suffix in self.suffixes or file.name in self.suffixes


def random_alteration(
    folder: Path, rng: random.Random, *, rehash: bool, files: tuple[str, ...] = (), name: str = ""
) -> str:
    """Damage one file of a run or bundle.

    Args:
        folder: A run or a bundle; modified in keys.
        rng: Chooses the file and the alteration.
        rehash: Whether to update hashes and sizes.
        files: Candidates; empty means all files.
        name: Key of ALTERATIONS; empty means a random one.

    Returns:
        Name of the file and of the alteration.
    """
    paths = [folder / file for file in files] or sorted(path for path in folder.rglob("*") if path.is_file())
    choices = {name: ALTERATIONS[name]} if name else ALTERATIONS
    applicable = {path: [key for key, choice in choices.items() if choice.applies_to(path)] for path in paths}
    path = rng.choice([path for path, keys in applicable.items() if keys])
    key = rng.choice(applicable[path])
    ALTERATIONS[key].alter(path, rng)
    if rehash and path.name not in LISTS:
        update_hashes(folder)
    return f"{path.relative_to(folder)}: {key}"


def update_hashes(folder: Path) -> None:
    """Update the hashes and sizes of a run or bundle to its present files."""
    if (folder / SUMS).is_file():
        _update_card(folder)
        lines = [f"{digest}  {name}\n" for name, (digest, _) in _listed(folder, SUMS)]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    else:
        facts = {name: {"sha256": digest, "bytes": size} for name, (digest, size) in _listed(folder, MANIFEST)}
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _listed(folder: Path, list_file: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """Name, hash and size of each file but `list_file`; see `_content` for what is hashed."""
    for path in sorted(folder.rglob("*")):
        if path != folder / list_file and (path.is_symlink() or not path.is_dir()):
            content = _content(path)
            size = len(content) or path.lstat().st_size
            yield path.relative_to(folder).as_posix(), (hashlib.sha256(content).hexdigest(), size)


def _content(path: Path) -> bytes:
    """Content of a regular file; empty for other kinds of files and for files above LARGEST_HASHED_BYTES."""
    if path.is_file() and path.stat().st_size <= LARGEST_HASHED_BYTES and not path.resolve().is_relative_to("/proc"):
        return path.read_bytes()
    return b""


def _update_card(folder: Path) -> None:
    """Update sizes and hashes of the models in the card of a bundle, if the card can still be read."""
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
    """Flip a bit."""
    content = bytearray(path.read_bytes() or b"\0")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def scramble(path: Path, rng: random.Random) -> None:
    """Replace twenty random bytes."""
    content = bytearray(path.read_bytes() or b"\0")
    for _ in range(20):
        content[rng.randrange(len(content))] = rng.randrange(256)
    path.write_bytes(content)


def zero_block(path: Path, rng: random.Random) -> None:
    """Zero a block of 512 bytes, the sector of a disk."""
    content = path.read_bytes()
    first = rng.randrange(0, len(content) + 1, 512)
    path.write_bytes(content[:first] + bytes(len(content[first : first + 512])) + content[first + 512 :])


def truncate(path: Path, rng: random.Random) -> None:
    """Cut the file at a random byte."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def append(path: Path, rng: random.Random) -> None:
    """Append random bytes."""
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 1000)))


def empty(path: Path, rng: random.Random) -> None:
    """Remove all content."""
    path.write_bytes(b"")


def noise(path: Path, rng: random.Random) -> None:
    """Replace the content by random bytes."""
    path.write_bytes(rng.randbytes(rng.randrange(1, 10_000)))


def enormous(path: Path, rng: random.Random) -> None:
    """Extend to a sparse file of 64 GiB."""
    os.truncate(path, 1 << 36)


def remove(path: Path, rng: random.Random) -> None:
    """Remove the file."""
    path.unlink()


def swap(path: Path, rng: random.Random) -> None:
    """Replace the content by that of another file of the folder, of the same suffix if there is one."""
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    same = [other for other in others if other.suffix == path.suffix]
    path.write_bytes(rng.choice(same or others).read_bytes())


def link(path: Path, rng: random.Random) -> None:
    """Replace the file by a link to the same content outside the folder."""
    target = path.parent.parent / f"{path.parent.name}-{path.name}"
    shutil.copyfile(path, target)
    path.unlink()
    path.symlink_to(target)


def link_to_device(path: Path, rng: random.Random) -> None:
    """Replace the file by a link to a device or a file of /proc."""
    path.unlink()
    path.symlink_to(rng.choice(["/dev/zero", "/dev/urandom", "/proc/self/environ", "/proc/kmsg"]))


def dangling(path: Path, rng: random.Random) -> None:
    """Replace the file by a link to a missing file or to itself."""
    path.unlink()
    path.symlink_to(rng.choice(["nothing", path.name]))


def fifo(path: Path, rng: random.Random) -> None:
    """Replace the file by a pipe without a writer."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path, rng: random.Random) -> None:
    """Replace the file by a folder of the same name."""
    path.unlink()
    path.mkdir()


# JSON.


def _key_paths(value: Any, at: tuple[Any, ...] = (), longest: int = 3) -> Iterator[tuple[Any, ...]]:
    """Path (keys and indices) of every value of a document; of each list only the first `longest` items."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _key_paths(inner, (*at, key), longest)
    elif isinstance(value, list):
        for number, inner in enumerate(value[:longest]):
            yield from _key_paths(inner, (*at, number), longest)


def _holder(document: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys[:-1]:
        document = document[key]
    return document


def _random_value(path: Path, rng: random.Random) -> tuple[Any, tuple[Any, ...]]:
    document = json.loads(path.read_text(encoding="utf-8"))
    return document, rng.choice([keys for keys in _key_paths(document) if keys] or [()])


def hostile_value(path: Path, rng: random.Random) -> None:
    """Replace a value by an entry of HOSTILE."""
    document, keys = _random_value(path, rng)
    mark = "placeholder of a hostile value"
    if keys:
        _holder(document, keys)[keys[-1]] = mark
    else:
        document = mark
    text = json.dumps(document, ensure_ascii=False)
    path.write_text(text.replace(f'"{mark}"', rng.choice(HOSTILE)), encoding="utf-8")


def remove_key(path: Path, rng: random.Random) -> None:
    """Remove a key or an item."""
    document, keys = _random_value(path, rng)
    if keys:
        del _holder(document, keys)[keys[-1]]
    path.write_text(json.dumps(document), encoding="utf-8")


def double_key(path: Path, rng: random.Random) -> None:
    """Repeat the first key with another value."""
    document = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(document)
    if isinstance(document, dict) and document:
        text = f"{{{json.dumps(next(iter(document)))}: 7, {text[1:]}"
    path.write_text(text, encoding="utf-8")


def deep(path: Path, rng: random.Random) -> None:
    """Replace the content by 200,000 nested lists."""
    path.write_text(200_000 * "[" + 200_000 * "]")


def other_encoding(path: Path, rng: random.Random) -> None:
    """Encode as UTF-16, or insert a byte that is not valid UTF-8."""
    text = path.read_text(encoding="utf-8")
    within = text.replace("e", "\xe9", 1).encode("latin-1", "replace")
    path.write_bytes(rng.choice([text.encode("utf-16"), text.encode() + b"\xff", within]))


def disorder(path: Path, rng: random.Random) -> None:
    """Reverse or empty a list, repeat its items, or insert text."""
    document = json.loads(path.read_text(encoding="utf-8"))
    lists = [keys for keys in _key_paths(document) if keys and isinstance(_holder(document, keys)[keys[-1]], list)]
    if lists:
        keys = rng.choice(lists)
        items = _holder(document, keys)[keys[-1]]
        rng.choice([items.reverse, lambda: items.extend(items[:2]), lambda: items.insert(0, "text"), items.clear])()
    path.write_text(json.dumps(document), encoding="utf-8")


def scale_number(path: Path, rng: random.Random) -> None:
    """Scale a number; a check of ranges need not detect this."""
    document = json.loads(path.read_text(encoding="utf-8"))
    numbers = [
        keys for keys in _key_paths(document) if keys and type(_holder(document, keys)[keys[-1]]) in (int, float)
    ]
    if numbers:
        keys = rng.choice(numbers)
        _holder(document, keys)[keys[-1]] *= rng.choice([-1, 0, 0.99, 1.01, 1e3, 1e12, 1e300])
    path.write_text(json.dumps(document), encoding="utf-8")


# TOML and CSV.


def hostile_setting(path: Path, rng: random.Random) -> None:
    """Replace the value of a setting by an entry of HOSTILE."""
    lines = path.read_text(encoding="utf-8").splitlines()
    settings = [number for number, line in enumerate(lines) if " = " in line]
    if settings:
        number = rng.choice(settings)
        lines[number] = f"{lines[number].partition(' = ')[0]} = {rng.choice(HOSTILE)}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shuffle_lines(path: Path, rng: random.Random) -> None:
    """Shuffle the lines, repeat one, or remove one."""
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
    """Replace every occurrence of a word."""
    text = path.read_text(encoding="utf-8")
    word = rng.choice(["train", "test", "part", ",", "\n"])
    path.write_text(text.replace(word, rng.choice(["x", "", "\x00", '"'])), encoding="utf-8")


# Lists of hashes.


def hostile_name(path: Path, rng: random.Random) -> None:
    """Replace the name of a file."""
    text = path.read_text(encoding="utf-8")
    names = ["/etc/passwd", "../card.json", "c/../../card.json", ".", "", "a/b/c/d", "card.json", "\\u0000", "x" * 5000]
    names = [name for name in names if name != "\\u0000" or path.suffix == ".json"]
    victim = rng.choice(["card.json", "config.toml", "metrics.json", "model.keras", "float32.tflite", "soil_scan.py"])
    path.write_text(text.replace(victim, rng.choice(names), 1), encoding="utf-8")


def hostile_hash(path: Path, rng: random.Random) -> None:
    """Replace a hash by a longer, shorter, upper-case, empty or non-hexadecimal text."""
    text = path.read_text(encoding="utf-8")
    digest = rng.choice(re.findall("[0-9a-f]{64}", text))
    other = rng.choice([digest.upper(), digest[:-1], digest + "0", "", "g" * 64])
    path.write_text(text.replace(digest, other, 1), encoding="utf-8")


# ZIP archives: model.keras and .npz.


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_members(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def member_bit(path: Path, rng: random.Random) -> None:
    """Flip bits of a member of the archive; its checksum is valid."""
    members = _members(path)
    name = rng.choice(list(members))
    content = bytearray(members[name])
    for _ in range(rng.choice([1, 5, 100])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _write_members(path, members | {name: bytes(content)})


def member_end(path: Path, rng: random.Random) -> None:
    """Cut a member at a random byte."""
    members = _members(path)
    name = rng.choice(list(members))
    _write_members(path, members | {name: members[name][: rng.randrange(len(members[name]))]})


def member_gone(path: Path, rng: random.Random) -> None:
    """Remove a member."""
    members = _members(path)
    del members[rng.choice(list(members))]
    _write_members(path, members)


def member_elsewhere(path: Path, rng: random.Random) -> None:
    """Add a member whose name points outside the folder."""
    _write_members(path, _members(path) | {rng.choice(["../evil", "/tmp/evil", "assets/../../evil"]): b"evil"})


def bomb(path: Path, rng: random.Random) -> None:
    """Replace a member by 3 MB that decompress to 3 GiB of zeros."""
    members = _members(path)
    name = rng.choice(list(members))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block, size = bytes(1 << 20), 3 << 10
    # After a full flush, equal blocks compress to equal bytes.
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
    """Add 60,000 empty members."""
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(60_000):
            archive.writestr(f"{number:0100d}", b"")


def object_array(path: Path, rng: random.Random) -> None:
    """Replace an array by an array of objects, which only pickle can read."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    arrays[rng.choice(list(arrays))] = np.array([{"a": 1}], dtype=object)
    np.savez(path, **arrays)


def graph_value(path: Path, rng: random.Random) -> None:
    """Replace a value in the graph of model.keras."""
    members = _members(path)
    document = json.loads(members["config.json"])
    keys = rng.choice([keys for keys in _key_paths(document, longest=1000) if len(keys) > 1])
    mark = "placeholder of a hostile value"
    _holder(document, keys)[keys[-1]] = mark
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
    """Replace the class of a layer of model.keras."""
    members = _members(path)
    document = json.loads(members["config.json"])
    key_paths = [keys for keys in _key_paths(document, longest=1000) if keys and keys[-1] == "class_name"]
    layers = ["Lambda", "TFSMLayer", "StringLookup", "Dense", "Softmax", "function", "Embedding"]
    layer = _holder(document, rng.choice(key_paths))
    layer["class_name"] = rng.choice(layers)
    layer["module"] = rng.choice(["keras.layers", "builtins", "os", None])
    _write_members(path, members | {"config.json": json.dumps(document).encode()})


def graph_size(path: Path, rng: random.Random) -> None:
    """Set a size of a layer of model.keras to a huge or invalid number."""
    members = _members(path)
    document = json.loads(members["config.json"])
    names = ("units", "filters", "landmarks", "count", "kernel_size")
    keys = rng.choice([keys for keys in _key_paths(document, longest=1000) if keys and keys[-1] in names])
    _holder(document, keys)[keys[-1]] = rng.choice([100_000, 1_000_000, 10**9, 10**18, -1, 0])
    _write_members(path, members | {"config.json": json.dumps(document).encode()})


def weights(path: Path, rng: random.Random) -> None:
    """Damage an array of model.keras: huge, absent, other shape or type, external link, or NaN."""
    import h5py
    import numpy as np

    members = _members(path)
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
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
_FUNCTIONS: dict[tuple[str, ...], tuple[Alter, ...]] = {
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
ALTERATIONS = {
    alter.__name__: Alteration(alter, suffixes) for suffixes, functions in _FUNCTIONS.items() for alter in functions
}
"""Name -> alteration."""
