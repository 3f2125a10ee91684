"""Tables of signals: measured of a block's pictures and texts, and put together for each sample."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Ints, offsets, one_chunk
from workers.faults import Fault
from workers.known_media import check_unchanged, read_known
from workers.media_files import MediaFiles
from workers.shown import clip_of
from workers.signals.clauses import Signals, signal_table
from workers.signals.minhash import PLACES, signature
from workers.signals.motion import MotionSignals, motion_signals
from workers.signals.names import SIGNALS
from workers.signals.picture import PictureSignals, picture_signals
from workers.signals.words import TextSignals, text_signals, words_of

PICTURES = pa.schema(
    [
        pa.field("content", pa.string(), nullable=False),  # sha256; values are null for a fault
        *(pa.field(name, pa.float64()) for name in PictureSignals._fields[:5]),
        pa.field("blank", pa.bool_()),
        pa.field("phash", pa.binary(8)),
        pa.field("phash256", pa.binary(32)),
    ]
)
"""One row a picture of a block, each content once."""

TEXTS = pa.schema(
    [
        *(
            pa.field(
                name,
                {"BIGINT": pa.int64(), "DOUBLE": pa.float64()}.get(SIGNALS[name].kind, pa.string()),
            )
            for name in TextSignals._fields
        ),
        pa.field("minhash", pa.binary(4 * PLACES)),  # of samples without media
    ]
)
"""One row a sample of a block."""

VIDEOS = pa.schema(
    [
        pa.field("content", pa.string(), nullable=False),  # sha256; values are null for a fault
        *(pa.field(name, pa.float64()) for name in MotionSignals._fields),
    ]
)
"""One row a video of a block, each content and clip once."""

_LEARNED = ("assistant", "text")


def measure_pictures(surveyed: pa.Table, files: MediaFiles) -> pa.Table:
    """PICTURES of a block's pictures and posed views. Raises BuildError for changed bytes."""
    items = one_chunk(surveyed.column("items")).flatten()
    names = ("kind", "sha256", "path", "offset", "size", "format", "width", "height")
    rows: dict[str, tuple[Any, ...]] = {}
    for kind, sha256, path, offset, size, form, width, height in zip(
        *(pc.struct_field(items, name).to_pylist() for name in names), strict=True
    ):
        if kind == "video" or not sha256 or sha256 in rows:
            continue
        data = read_known(files, path, offset, size)
        check_unchanged(path, [data], sha256)
        try:
            found: tuple[Any, ...] = picture_signals(data, form, width, height)
        except Fault:
            found = (None,) * len(PictureSignals._fields)
        rows[sha256] = (sha256, *found)
    columns = list(zip(*rows.values(), strict=True)) or [()] * len(PICTURES)
    arrays = [pa.array(one, field.type) for one, field in zip(columns, PICTURES, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PICTURES)


def measure_texts(surveyed: pa.Table) -> pa.Table:
    """TEXTS, row for row."""
    rows = []
    media = pc.list_value_length(surveyed.column("items")).to_pylist()
    for turns, shown in zip(surveyed.column("turns").to_pylist(), media, strict=True):
        spoken = [
            (turn["role"], " ".join(part["text"] for part in turn["parts"] if part["text"]))
            for turn in turns
        ]
        texts = [text for _, text in spoken if text]
        found = text_signals(texts, [text for role, text in spoken if role in _LEARNED])
        minhash = None if shown else signature(words_of("\n".join(texts)))
        rows.append((*found, minhash))
    columns = list(zip(*rows, strict=True)) or [()] * len(TEXTS)
    arrays = [pa.array(one, field.type) for one, field in zip(columns, TEXTS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=TEXTS)


def measure_videos(surveyed: pa.Table, files: MediaFiles) -> pa.Table:
    """VIDEOS of a block. Raises BuildError for changed bytes."""
    rows: dict[str, tuple[Any, ...]] = {}
    for media in surveyed.column("items").to_pylist():
        for item in media:
            name = video_content(item)
            if item["kind"] != "video" or name in rows:
                continue
            file = files.open_range(item["path"], item["offset"], item["size"])
            try:
                with closing(file):
                    found: tuple[Any, ...] = motion_signals(
                        file, clip_of(item), item["orientation"]
                    )
            except Fault:
                found = (None,) * len(MotionSignals._fields)
            rows[name] = (name, *found)
    columns = list(zip(*rows.values(), strict=True)) or [()] * len(VIDEOS)
    arrays = [pa.array(one, field.type) for one, field in zip(columns, VIDEOS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=VIDEOS)


def video_content(item: Mapping[str, Any]) -> str:
    """A video and the clip of it that a sample shows."""
    start, end = clip_of(item) if item["kind"] == "video" else (0, 0)
    return f"{item['sha256']}:{start}-{end}"


def sound(surveyed: pa.Table) -> pa.Table:
    """Samples that the survey has not dropped."""
    return surveyed.take(pa.array(np.flatnonzero(pc.is_null(surveyed.column("drop")).to_numpy())))


def media_contents(surveyed: pa.Table) -> list[str]:
    """The sha256 of what sound samples show, each once, in order."""
    items = one_chunk(sound(surveyed).column("items")).flatten()
    return list(dict.fromkeys(pc.struct_field(items, "sha256").to_pylist()))


def signals_of(
    surveyed: pa.Table, tables: Mapping[str, pa.Table], names: Collection[str], known: Signals
) -> pa.Table:
    """These signals of each sample of a block, as clauses see them; `tables` are what was measured,
    by origin, and by name what a model did.
    """
    lists = one_chunk(surveyed.column("items"))
    items, bounds = lists.flatten(), offsets(lists)
    found: dict[str, Any] = {}
    for name in sorted(names):
        origin = known[name].origin
        if origin == "text":
            found[name] = tables["text"].column(name)
        elif origin == "picture":
            found[name] = _of_pictures(name, items, bounds, tables["picture"])
        elif origin == "video":
            found[name] = _of_videos(name, items, bounds, tables["video"])
        elif origin == "similarity":
            found[name] = tables[name].column("value")
        elif origin == "classification":
            found[name] = _of_media(items, bounds, tables[name])
        else:
            found[name] = _of_headers(name, surveyed, items, bounds)
    return signal_table({name: _list(values) for name, values in found.items()}, known)


def _list(values: Any) -> Any:
    return values.to_pylist() if isinstance(values, pa.ChunkedArray | pa.Array) else values


def _of_headers(name: str, surveyed: pa.Table, items: pa.StructArray, bounds: Ints) -> Any:
    def column(field: str) -> np.ndarray[Any, Any]:
        values: np.ndarray[Any, Any] = pc.struct_field(items, field).to_numpy(zero_copy_only=False)
        return values

    if name == "source":
        return surveyed.column("source")
    if name == "turns":
        return pc.list_value_length(surveyed.column("turns"))
    kind = column("kind")
    if name in ("pictures", "videos"):
        counted = (kind == "video") == (name == "videos")
        return _each(np.add, counted.astype(np.int64), bounds, empty=0)
    if name in ("formats", "modes"):
        values = column(name.removesuffix("s")).tolist()
        pairs = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        return [values[first:end] for first, end in pairs]
    if name == "animated":
        notes = pc.struct_field(items, "notes").to_pylist()
        told = np.array(["animated" in (one or []) for one in notes], np.int64)
        return [bool(one) for one in _each(np.maximum, told, bounds, empty=0)]
    if name == "max_duration":
        seconds = np.where(kind == "video", column("duration").astype(np.float64), np.nan)
        return _each(np.fmax, seconds, bounds)
    width, height = (column(side).astype(np.float64) for side in ("width", "height"))
    known = (width > 0) & (height > 0)
    pixels = np.where(known, width * height, np.nan)
    sides = {
        "min_width": width,
        "min_height": height,
        "min_side": np.minimum(width, height),
        "max_side": np.maximum(width, height),
        "aspect_ratio": np.maximum(width, height) / np.where(known, np.minimum(width, height), 1),
        "megapixels": pixels / 1e6,
        "bytes_per_pixel": np.where(kind == "video", np.nan, column("size") / pixels),
    }
    low = name.startswith("min_")
    value = sides[name if name in sides else name[4:]]
    return _each(np.fmin if low else np.fmax, np.where(known, value, np.nan), bounds)


def _of_pictures(name: str, items: pa.StructArray, bounds: Ints, pictures: pa.Table) -> Any:
    """A picture that does not decode has none; neither has a video."""
    low, measure = not name.startswith("max_"), name.removeprefix("min_").removeprefix("max_")
    place = pc.index_in(pc.struct_field(items, "sha256"), value_set=one_chunk(pictures["content"]))
    values = pictures.column(measure).cast(pa.float64()).take(place).to_numpy()
    if name == "blank":
        told = _each(np.fmax, values, bounds)
        return [None if one is None else one > 0 for one in told]
    return _each(np.fmin if low else np.fmax, values, bounds)


def _of_videos(name: str, items: pa.StructArray, bounds: Ints, videos: pa.Table) -> Any:
    """A picture has none."""
    how, measure = name.split("_", 1)
    contents = pa.array([video_content(item) for item in items.to_pylist()], pa.string())
    place = pc.index_in(contents, value_set=one_chunk(videos["content"]))
    values = videos.column(measure).take(place).to_numpy()
    return _each(np.fmin if how == "min" else np.fmax, values, bounds)


def _of_media(items: pa.StructArray, bounds: Ints, table: pa.Table) -> Any:
    """A column named `max` or `min`: so count the values of several media."""
    place = pc.index_in(pc.struct_field(items, "sha256"), value_set=one_chunk(table["content"]))
    how = table.column_names[1]
    values = table.column(how).take(place).to_numpy()
    return _each(np.fmin if how == "min" else np.fmax, values, bounds)


def _each(how: np.ufunc, values: Any, bounds: Ints, empty: Any = None) -> list[Any]:
    """`how` over the items of each sample; `empty` for a sample without, None where all are NaN."""
    counts = np.diff(bounds)
    found: list[Any] = [empty] * len(counts)
    some = np.flatnonzero(counts)
    if len(some):
        reduced = how.reduceat(values, bounds[:-1][some])
        for row, value in zip(some.tolist(), reduced.tolist(), strict=True):
            found[row] = None if value != value else value
    return found


def failing(
    signals: pa.Table,
    failed: Mapping[str, np.ndarray[Any, Any]],
    used: Mapping[str, Collection[str]],
) -> dict[int, str]:
    """For each row that fails a clause the first one, with the values that it looked at."""
    found: dict[int, str] = {}
    for clause, rows in failed.items():
        names = sorted(used[clause])
        for row in np.flatnonzero(rows).tolist():
            values = ", ".join(f"{name} {_short(signals[name][row].as_py())}" for name in names)
            found.setdefault(row, f"{clause} ({values})")
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:60]
