import json
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from patchpack.arrays import ARRAYS, OPTIONAL, Arrays
from patchpack.container import DTYPES, Array
from patchpack.header import HEADER_KINDS, Cost
from patchpack.layout import FormatError, Header, Pack, Payload, decode, encode, image, pack_key
from tests.handmade import DIGEST, again, empty_pack, media_pack, members, same, text_pack

KEYS = (
    *("format", "key", "filler", "lane", "row", "length", "cost", "cu_seqlens", "loss_tokens"),
    *("sample_id", "source", "origin", "sha256", "item_sample", "item_kind", "item_start"),
    *("item_length", "item_tensor", "item_format", "item_source_wh", "item_resized_wh"),
    *("policy", "merge", "seconds_per_grid", "positions", "recipe"),
)


@st.composite
def payloads_of_one_item(draw: st.DrawFn) -> list[Payload]:
    if draw(st.booleans()):
        return [image(data) for data in draw(st.lists(st.binary(min_size=1), min_size=1))]
    dtype = draw(st.sampled_from(["BF16", "F16", "I8"]))
    shapes = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1))
    return [Payload(dtype, np.arange(n * d).reshape(n, d).astype(DTYPES[dtype])) for n, d in shapes]


@st.composite
def packs(draw: st.DrawFn) -> Pack:
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    base = text_pack(draw(st.integers(0, 10**8 - 1)), lengths)
    samples = sorted(draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6)))
    payloads = [draw(payloads_of_one_item()) for _ in samples]
    flat = list(chain.from_iterable(payloads))
    return Pack(_header(draw, base, samples, payloads), _arrays(draw, base, payloads), flat)


def _header(
    draw: st.DrawFn, base: Pack, samples: list[int], payloads: list[list[Payload]]
) -> Header:
    n = len(samples)
    numbers = np.cumsum([0, *map(len, payloads)]).tolist()
    pairs = st.lists(st.integers(1, 5000), min_size=2, max_size=2)
    seconds = st.floats(0, 1e300, allow_subnormal=True)
    return replace(
        base.header,
        cost=Cost(tokens=draw(st.integers(0, 2**63 - 1)), patches=0, attention=1, vit_attention=2),
        source=[draw(st.text(st.characters(codec="utf-8"))) for _ in base.header.source],
        sha256=["ab" * 32] * n,
        item_sample=samples,
        item_kind=[draw(st.sampled_from(["image", "video", "view"])) for _ in samples],
        item_start=[base.header.cu_seqlens[sample] for sample in samples],
        item_length=[1] * n,
        item_tensor=[f"{p[0].kind}.{k:05d}" for p, k in zip(payloads, numbers, strict=False)],
        item_format=["jpeg"] * n,
        item_source_wh=[draw(pairs) for _ in samples],
        item_resized_wh=[draw(pairs) for _ in samples],
        policy=["fixed"] * n,
        merge=[draw(st.integers(1, 4)) for _ in samples],
        seconds_per_grid=[draw(seconds) for _ in samples],
    )


def _arrays(draw: st.DrawFn, base: Pack, payloads: list[list[Payload]]) -> Arrays:
    n = len(payloads)
    images = [p[0].kind == "image" for p in payloads]
    # pixels: as many frames as tensors; features say nothing about frames
    frames = np.repeat(
        np.arange(n), [len(p) * is_image for p, is_image in zip(payloads, images, strict=True)]
    )
    grids = np.repeat(np.arange(n), draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    return replace(
        base.arrays,
        payload=np.where(images, 1, 2).astype(np.uint8),
        orientation=np.full(n, draw(st.integers(1, 8)), np.uint8),
        alpha=np.zeros(n, np.uint8),
        canvas_wh=np.ones((n, 2), np.int32),
        paste_xy=np.zeros((n, 2), np.int32),
        pad_rgb=np.full((n, 3), 255, np.uint8),
        view_wh=np.ones((n, 2), np.int32),
        resample=np.full(n, draw(st.integers(0, 2)), np.uint8),
        transposed=np.zeros(n, np.uint8),
        thumbnail=np.zeros(n, np.uint8),
        thumbnail_of=np.full(n, draw(st.integers(0, 2)), np.uint8),
        thumbnail_wh=np.zeros((n, 2), np.int32),
        thumbnail_resized_wh=np.zeros((n, 2), np.int32),
        thumbnail_xy=np.zeros((n, 2), np.int32),
        runs=np.ones(n, np.int32),
        parts=np.ones((len(grids), 3), np.int32),
        part_item=grids.astype(np.int32),
        grid_thw=np.ones((len(grids), 3), np.int32),
        grid_item=grids.astype(np.int32),
        frame_indices=np.arange(len(frames), dtype=np.int32),
        frame_item=frames.astype(np.int32),
        pose=np.full((n, 4, 4), np.nan),
        intrinsics=np.full((n, 4), np.nan),
        camera_convention=np.zeros(n, np.uint8),
        camera_item=np.arange(n, dtype=np.int32),
    )


def without(pack: Pack, name: str) -> bytes:
    """The arrays member of `pack` lacking one tensor."""
    return save({key: value for key, value in load(members(pack)[1]).items() if key != name})


@given(packs())
def test_a_pack_comes_back_bit_for_bit(pack: Pack) -> None:
    back = again(pack)
    assert back.header == pack.header
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back.arrays, name), getattr(pack.arrays, name))
    assert [p.dtype for p in back.payloads] == [p.dtype for p in pack.payloads]
    for left, right in zip(back.payloads, pack.payloads, strict=True):
        np.testing.assert_array_equal(left.data, right.data)
    assert same(back, pack)


@given(packs())
def test_the_safetensors_library_writes_the_same_bytes(pack: Pack) -> None:
    if any(payload.dtype == "BF16" for payload in pack.payloads):
        return  # numpy has no bfloat16 for the library to write
    arrays = members(pack)[1]
    assert save(load(arrays)) == arrays


@pytest.mark.parametrize("pack", [text_pack(0), media_pack(1), empty_pack(2)])
def test_every_pack_has_the_same_keys_in_order_and_the_same_arrays(pack: Pack) -> None:
    header, arrays = members(pack)
    assert tuple(json.loads(header)) == KEYS == tuple(HEADER_KINDS)
    assert {name for name in load(arrays) if "." not in name} == ARRAYS.keys() - OPTIONAL


def test_a_filler_is_empty() -> None:
    header, arrays = members(empty_pack(7))
    value = json.loads(header)
    assert value["filler"] is True
    assert value["cu_seqlens"] == [0]
    assert all(v == [] for v in value.values() if isinstance(v, list) and v != [0])
    assert all(array.size == 0 for array in load(arrays).values())


def test_floats_always_have_a_point() -> None:
    pack = media_pack(0)
    pack = Pack(replace(pack.header, seconds_per_grid=[1e-05, 1e22]), pack.arrays, pack.payloads)
    assert b'"seconds_per_grid":[1.0e-05,1.0e+22]' in members(pack)[0]
    assert again(pack).header.seconds_per_grid == [1e-05, 1e22]


def test_nothing_is_copied_on_either_way() -> None:
    data = bytearray(b"x" * 100_000)
    payloads = [image(data), *media_pack(0).payloads[1:]]
    header, buffers = encode(media_pack(0, payloads))
    assert any(np.shares_memory(np.frombuffer(b, np.uint8), payloads[0].data) for b in buffers)

    member = b"".join(buffers)
    pack = decode(header, memoryview(member))
    whole = np.frombuffer(member, np.uint8)
    arrays = [getattr(pack.arrays, name) for name in ARRAYS] + [p.data for p in pack.payloads]
    assert all(np.shares_memory(whole, array) for array in arrays if array.size)
    assert pack.arrays.intrinsics.flags.aligned
    assert not pack.arrays.tokens.flags.writeable


def test_payloads_of_an_item_are_its_canvas_and_thumbnail_or_its_frames() -> None:
    pack = media_pack(0)
    assert list(pack.payloads_of(0)) == list(pack.payloads[:2])
    assert list(pack.payloads_of(1)) == list(pack.payloads[2:])


def test_a_header_that_a_reader_has_parsed_decodes_too() -> None:
    header, arrays = members(media_pack(3))
    assert same(decode(json.loads(header), arrays), media_pack(3))


def test_a_key_is_the_partition_and_a_number() -> None:
    assert pack_key(DIGEST, 42) == "3f2a91bc-00000042"


def _set(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header[name] = value

    return change


WRONG_HEADERS = {
    "format": _set("format", 2),
    "key": _set("key", "a.b"),
    "lane": _set("lane", -1),
    "row": _set("row", True),
    "length": _set("length", 22.0),
    "cost": _set("cost", {"tokens": 1}),
    "cu_seqlens": _set("cu_seqlens", [0, 11, 10]),
    "filler": _set("filler", True),
    "loss_tokens": _set("loss_tokens", [1, 0]),
    "sample_id": _set("sample_id", ["one"]),
    "source": _set("source", ["\ud800", "x"]),
    "origin": _set("origin", [None, "x"]),
    "sha256": _set("sha256", []),
    "item_sample": _set("item_sample", [0, 2]),
    "item_kind": _set("item_kind", ["image", "sound"]),
    "item_start": _set("item_start", [2, 9]),
    "item_length": _set("item_length", [6, -1]),
    "item_tensor": _set("item_tensor", ["image.00000", "../../etc"]),
    "item_source_wh": _set("item_source_wh", [[1, 2], [3]]),
    "merge": _set("merge", [0, 2]),
    "seconds_per_grid": _set("seconds_per_grid", [0, 1]),
    "recipe": _set("recipe", None),
    "keys": _set("extra", 1),
}


@pytest.mark.parametrize("name", WRONG_HEADERS)
def test_a_wrong_header_is_named_by_pack_and_key(name: str) -> None:
    header, arrays = members(media_pack(5))
    value = json.loads(header)
    WRONG_HEADERS[name](value)
    with pytest.raises(FormatError, match=name) as caught:
        decode(json.dumps(value).encode(), arrays)
    assert name == "key" or "pack 3f2a91bc-00000005: " in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"format":NaN}',
        b'{"format":1,"format":1}',
        b'{"format":' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data, members(text_pack(0))[1])


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in OPTIONAL])
def test_every_array_must_be_there_with_its_dtype_and_length(name: str) -> None:
    pack = media_pack(6)
    header = members(pack)[0]
    with pytest.raises(FormatError, match=f"3f2a91bc-00000006: {name}"):
        decode(header, without(pack, name))
    for wrong in (
        getattr(pack.arrays, name).astype("f8" if ARRAYS[name].dtype == "F32" else np.float32),
        getattr(pack.arrays, name)[None],
    ):
        arrays = load(members(pack)[1]) | {name: wrong}
        with pytest.raises(FormatError, match=f"00000006: {name}|dimensions|F64|I16"):
            decode(header, save(arrays))


def test_pieces_are_in_a_pack_that_has_them() -> None:
    pack = media_pack(6)
    owner, pieces = np.zeros(2, np.int32), np.array([[4, 2, 0, 1, 4, 4]] * 2, np.int32)
    with_pieces = Pack(
        pack.header, replace(pack.arrays, pieces_item=owner, pieces=pieces), pack.payloads
    )
    assert again(with_pieces).arrays.pieces.tolist() == [[4, 2, 0, 1, 4, 4]] * 2
    assert again(pack).arrays.pieces.shape == (0, 6)
    for wrong, of, message in (
        (pieces[:, :4], owner, "pieces: is int32"),
        (-pieces, owner, "pieces: below 0"),
        (pieces * [0, 1, 1, 1, 1, 1], owner, "pieces: a piece without pixels"),
        (pieces * [1, 1, 1, 1, 1, 0], owner, "pieces: a piece without pixels"),
        (pieces[:1], owner[:1], "pieces_item: expected one for each crop"),  # of two
        (pieces[:1], owner[:1] + 1, "pieces_item: expected one for each crop"),  # of none
    ):
        arrays = replace(pack.arrays, pieces_item=of, pieces=wrong.astype(np.int32))
        with pytest.raises(FormatError, match=f"00000006: {message}"):
            members(Pack(pack.header, arrays, pack.payloads))
        stored = load(members(with_pieces)[1]) | {"pieces_item": of, "pieces": arrays.pieces}
        with pytest.raises(FormatError, match=f"00000006: {message}"):
            decode(members(with_pieces)[0], save(stored))


WRONG_ARRAYS: dict[str, Array] = {
    "token_kind": np.full(22, 4, np.uint8),
    "loss": np.full(22, 2, np.uint8),
    "orientation": np.array([0, 1], np.uint8),
    "thumbnail": np.array([3, 0], np.uint8),
    "grid_thw": np.zeros((3, 3), np.int32),
    "grid_item": np.array([0, 1, 0], np.int32),
    "crops_item": np.array([-1, 0], np.int32),
    "crops_ltrb": np.zeros((2, 4), np.int32),
    "frame_indices": np.array([-1, 0, 1], np.int32),
    "kept_patches": np.array([0, -3, 5], np.int32),
    "parts": np.array([[2, -2, 2], [1, 2, 0]], np.int32),
    "runs": np.array([1, 0], np.int32),
    "resample": np.array([0, 3], np.uint8),
    "frame_item": np.array([1, 1, 2], np.int32),
    "camera_item": np.array([2], np.int32),
    "payload": np.array([1, 2], np.uint8),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_wrong_values_are_named_both_on_reading_and_on_writing(name: str) -> None:
    pack = media_pack(6)
    header, arrays = members(pack)
    with pytest.raises(FormatError, match=f"3f2a91bc-00000006: {name}"):
        decode(header, save(load(arrays) | {name: WRONG_ARRAYS[name]}))
    columns = {column: getattr(pack.arrays, column) for column in ARRAYS}
    wrong = Pack(pack.header, Arrays(**columns | {name: WRONG_ARRAYS[name]}), pack.payloads)
    with pytest.raises(FormatError, match=f"3f2a91bc-00000006: {name}"):
        encode(wrong)


def test_a_thumbnail_that_the_model_makes_has_no_tensor() -> None:
    pack = media_pack(0, [image(b"x")] * 4)
    made = replace(pack.arrays, thumbnail_of=np.array([2, 0], np.uint8))
    tensors = replace(pack.header, item_tensor=["image.00000", "image.00001"])
    encode(Pack(tensors, made, pack.payloads))
    with pytest.raises(FormatError, match="item 0 has 1 tensors, expected 2"):
        encode(Pack(tensors, pack.arrays, pack.payloads))


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_missing_and_surplus_payloads_are_refused(count: int) -> None:
    payloads = [image(b"x")] * count
    with pytest.raises(FormatError, match="item_tensor"):
        encode(media_pack(0, payloads))


@pytest.mark.parametrize(
    ("kinds", "tensors", "starts", "sound"),
    [
        ([0, 0], 2, [0, 1], True),  # untouched bytes: one tensor each, the thumbnail is made of it
        ([0, 0], 4, [0, 1], True),  # or the frames of the video
        ([0, 1], 4, [0, 1], True),
        ([1, 1], 4, [0, 1], False),  # pixels lack the thumbnail
        ([0, 1], 5, [0, 2], False),
        ([0, 0], 3, [0, 1], False),
    ],
)
def test_an_item_has_the_tensors_that_its_payload_kind_needs(
    kinds: list[int], tensors: int, starts: list[int], sound: bool
) -> None:
    base = media_pack(0, [image(b"x")] * tensors)
    pack = Pack(
        replace(base.header, item_tensor=[f"image.{start:05d}" for start in starts]),
        replace(base.arrays, payload=np.array(kinds, np.uint8)),
        base.payloads,
    )
    if sound:
        assert same(again(pack), pack)
    else:
        with pytest.raises(FormatError, match=r"item_tensor: item [01] has"):
            encode(pack)


def test_payloads_are_numbered_without_a_gap() -> None:
    header, arrays = members(media_pack(0))
    tensors = load(arrays)
    tensors["image.00009"] = tensors.pop("image.00003")
    with pytest.raises(FormatError, match=r"image\.0000[39]"):
        decode(header, save(tensors))


def test_loss_must_agree_with_the_header() -> None:
    pack = text_pack(0)
    with pytest.raises(FormatError, match="loss_tokens"):
        encode(Pack(replace(pack.header, loss_tokens=[1, 2]), pack.arrays, ()))


def _container(entries: object, data: bytes = b"", size: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def _entry(shape: object, offsets: object, dtype: object = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        _container({}, size=2**63),
        _container(b"{}", size=1 << 30),
        _container(b"[" * 50_000),
        _container([]),
        _container({}, b"surplus"),
        _container({"a": 1}),
        _container({"a": _entry([1], [0, 1])}),
        _container({"a": _entry([2**39, 2**39], [0, 2**39])}),
        _container({"a": _entry([1] * 64, [0, 1])}, b"x"),
        _container({"a": _entry([10**30], [0, 1])}, b"x"),
        _container({"a": _entry([-1], [0, -1])}),
        _container({"a": _entry([0, 2**39, 2**39], [0, 0], "F64")}),
        _container({"a": _entry([2**39, 0, 2**39], [0, 0])}),
        _container({"a": _entry([True], [0, True])}, b"x"),
        _container({"a": _entry([1], [1, 2])}, b"xy"),
        _container({"a": _entry([1], [0, 1]), "b": _entry([1], [0, 1])}, b"x"),
        _container({"a": _entry([1], [0, 1], "BOOL")}, b"x"),
        _container({"a": _entry([1], [0, 1], ["U8"])}, b"x"),
        _container({"a": _entry("1", "01")}, b"x"),
        _container(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'),
        _container(b'{"a":{},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        _container(b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
    ],
)
def test_a_hostile_container_is_refused_before_anything_is_allocated(data: bytes) -> None:
    with pytest.raises(FormatError, match="3f2a91bc-00000000"):
        decode(members(text_pack(0))[0], data)


@given(st.data())
def test_damaged_bytes_are_refused_or_still_a_valid_pack(data: st.DataObject) -> None:
    header, arrays = map(bytearray, members(media_pack(0)))
    member = data.draw(st.sampled_from([header, arrays]))
    member[data.draw(st.integers(0, len(member) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    try:
        pack = decode(bytes(header), bytes(arrays[: len(arrays) - cut]))
    except FormatError:
        return
    assert same(again(pack), pack)
