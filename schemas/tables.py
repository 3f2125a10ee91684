"""The tables between the stages: one Arrow schema a boundary, and `conform`, which every stage ends
in.

| schema    | one row a           | written by |
|-----------|---------------------|------------|
| SURVEYED  | input sample        | survey, one table a block |
| SELECTED  | input sample        | select, one table a partition |
| CAPTIONED | request to a model  | caption, one table a block and pass |
| TOKENIZED | input sample        | tokenize, one table a block, row for row as SURVEYED |
| SIZED     | input sample        | size, one table a partition, row for row as SELECTED |
| PACKED    | instance            | pack, one table a partition, in written order |
| LEDGER    | input sample        | publish |

Tables of signals are in `workers/signals/measured.py`. A stage never removes a row: it sets `drop`
(a `Reason`) and `message`. `block` and `row` say where a sample stands: the number of its block in
the partition, and its row in that block's SURVEYED and TOKENIZED tables.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.errors import ContractError
from schemas.sized import SIZED_ITEM


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


PART = pa.struct(
    [
        _required("kind", pa.string()),  # text | media | box | point
        _required("text", pa.string()),  # "" for media; the label of a box or point
        _required("item", pa.int32()),  # index into items; -1 for text
        # box: left, top, right, bottom; point: x, y; pixels of the item after its orientation
        _required("xy", pa.list_(pa.float64())),
    ]
)
TURN = pa.struct(
    [
        _required("role", pa.string()),  # system | user | assistant; text for a plain document
        _required("parts", pa.list_(PART)),
    ]
)
BOX = pa.struct([_required("xyxy", pa.list_(pa.float64(), 4)), _required("label", pa.string())])

ITEM = pa.struct(
    [
        _required("kind", pa.string()),  # image | video | view
        _required("path", pa.string()),  # file relative to the source's root
        _required("member", pa.string()),  # tar member, "" for a file of its own
        _required("offset", pa.int64()),  # byte range in the file
        _required("size", pa.int64()),
        _required("sha256", pa.string()),
        _required("format", pa.string()),  # jpeg, png, ... from the content, or the video container
        _required("mode", pa.string()),  # Pillow's, or the pixel format of the video
        _required("alpha", pa.bool_()),  # the picture has transparency
        _required("width", pa.int32()),  # pixels, after the orientation
        _required("height", pa.int32()),
        _required(
            "orientation", pa.int32()
        ),  # EXIF code 1..8 as found; videos: the same code for their rotation
        _required("frames", pa.int32()),  # 1 for a picture
        _required("fps", pa.float64()),  # mean frames a second; 0.0 for a picture
        _required("duration", pa.float64()),  # seconds
        _required("clip_start", pa.float64()),  # seconds; NaN = the record names none
        _required("clip_end", pa.float64()),
        _required(
            "notes", pa.list_(pa.string())
        ),  # what was corrected or is worth knowing, e.g. "animated"
        _required("boxes", pa.list_(BOX)),  # pixels of the picture after its orientation
        _required("intrinsics", pa.list_(pa.float64())),  # fx, fy, cx, cy in pixels, or empty
        _required("pose", pa.list_(pa.float64())),  # camera to world, 4x4 row-major, or empty
        _required("camera_convention", pa.string()),  # opencv | opengl, "" without a camera
        _required("depth_path", pa.string()),  # depth map as a 16-bit grey PNG; "" for none
        _required("depth_member", pa.string()),
        _required("depth_offset", pa.int64()),  # byte range in the file; 0 and 0 for none
        _required("depth_size", pa.int64()),
        _required("depth_sha256", pa.string()),
        _required("depth_steps_a_metre", pa.float64()),  # 1000 = millimetres; 0.0 for none
    ]
)

_DROP = [pa.field("drop", pa.string()), pa.field("message", pa.string())]
_PLACE = [_required("block", pa.int32()), _required("row", pa.int32())]

SURVEYED = pa.schema(
    [
        _required("sample_id", pa.string()),  # "<source>/<id>"
        _required("source", pa.string()),
        _required(
            "origin", pa.string()
        ),  # relative to the source's root: path, or path#offset+size
        _required("turns", pa.list_(TURN)),
        _required("items", pa.list_(ITEM)),
        *_DROP,
    ]
)

SELECTED = pa.schema(
    [
        _required("sample_id", pa.string()),
        *_PLACE,
        _required("copies", pa.int32()),  # instances of the sample; 0 where it is dropped
        *_DROP,
    ]
)

CAPTIONED = pa.schema(
    [
        _required("sample_id", pa.string()),
        _required("slot", pa.int32()),  # of several requests about a sample
        _required("task", pa.string()),
        _required("original", pa.string()),  # "" for none
        _required("caption", pa.string()),  # the answer; "" for none
        _required("model", pa.string()),  # as the recipe names it
        _required("answered_by", pa.string()),  # as the server does
        _required("prompt_version", pa.string()),  # task/version@digest
        _required("parameters", pa.string()),  # JSON
        _required("key", pa.string()),  # that the answer is recorded by
        _required("finish", pa.string()),
        _required("latency_ms", pa.int64()),
        _required("prompt_tokens", pa.int64()),
        _required("answer_tokens", pa.int64()),
        pa.field("original_score", pa.float64()),  # image-text similarity, where it decides
        pa.field("score", pa.float64()),
        pa.field("blank_agrees", pa.bool_()),  # null where no blank control was sent
        _required("decision", pa.string()),  # caption | original | drop
        pa.field("message", pa.string()),  # why the answer was rejected
    ]
)

CAPTIONS = pa.schema([_required("partition", pa.string()), *CAPTIONED])
"""CAPTIONED of a whole version."""

# A text that names places in pixels of resized pictures, before it is encoded.
LATE = pa.struct(
    [
        _required("text", pa.string()),  # U+FDD0 for each mark, U+FDD3 for each place's numbers
        _required("learned", pa.list_(pa.int32())),  # start, end, … in characters of `text`
        _required("marks", pa.list_(pa.int32())),  # ids of special tokens; -1 for the next item
        _required("items", pa.list_(pa.int32())),  # for each place the index of its item
        _required("xy", pa.list_(pa.list_(pa.float64()))),  # and its box or point, as in PART
    ]
)
TOKENIZED = pa.schema(
    [
        _required("sample_id", pa.string()),
        _required(
            "tokens", pa.list_(pa.int32())
        ),  # text only: vision tokens are inserted at the slots
        _required("loss", pa.list_(pa.int32())),  # start, end, start, end, ... over `tokens`
        _required(
            "slots", pa.list_(pa.int32())
        ),  # for each item: index into `tokens` before which it stands
        _required("late", pa.list_(LATE)),  # one where all this waits for the sizes of the items
        *_DROP,
    ]
)

PLANNED_ITEM = pa.struct(
    [
        *(field for field in SIZED_ITEM if field.name not in ("drop", "message")),
        _required("alpha", pa.string()),  # drop | white: what becomes of transparency
        # kind/variant of the policy, and the settings that gave way so that the sample fits:
        # qwen2_vl/qwen_vl_utils?max_pixels=752640
        _required("policy", pa.string()),
    ]
)
TEXT = pa.struct(  # the columns of TOKENIZED
    [_required(name, pa.list_(pa.int32())) for name in ("tokens", "loss", "slots")]
)
SIZED = pa.schema(
    [
        _required("sample_id", pa.string()),
        *_PLACE,
        _required("copies", pa.int32()),
        _required("items", pa.list_(PLANNED_ITEM)),
        _required(
            "run_text", pa.list_(pa.list_(pa.int32()))
        ),  # for each item runs + 1 texts around its runs
        _required("text", pa.list_(TEXT)),  # one where TOKENIZED has a late text instead
        _required("fit", pa.int32()),  # steps of the policy's own rules taken to fit the capacity
        _required("loss_tokens", pa.int64()),
        _required("length", pa.int64()),  # LLM tokens
        # the cost vector starts here: LLM tokens, rounded up to pack.segment_multiple
        _required("tokens", pa.int64()),
        _required("patches", pa.int64()),  # ViT patches
        _required(
            "attention", pa.int64()
        ),  # sum of squared segment lengths (one segment: tokens ** 2)
        _required(
            "vit_attention", pa.int64()
        ),  # sum of squared patch counts of the encoder's segments
        _required("bytes", pa.int64()),  # modelled payload bytes
        _required("images", pa.int32()),  # pictures and views
        _required("videos", pa.int32()),
        *_DROP,
    ]
)

PACKED = pa.schema(
    [
        _required("sample_id", pa.string()),
        _required("copy", pa.int32()),
        *_PLACE,  # in the blocks
        _required("sized_row", pa.int32()),  # in the partition's SIZED table
        _required(
            "pack", pa.int32()
        ),  # in written order from 0; fillers come last and have no row here
        _required("place", pa.int32()),  # 0 for the first sample of its pack
        _required("offset", pa.int32()),  # first token in the pack
        _required("lane", pa.int32()),
        _required("pack_row", pa.int32()),  # row of the pack in the global order
    ]
)

LEDGER = pa.schema(
    [
        _required("sample_id", pa.string()),
        _required("copy", pa.int32()),  # -1 where the sample is dropped
        _required("source", pa.string()),
        _required("origin", pa.string()),
        _required("partition", pa.string()),
        _required("pack", pa.string()),  # key of the pack, "" where dropped
        _required("shard", pa.string()),
        _required("tokens", pa.int64()),
        _required("notes", pa.list_(pa.string())),
        *_DROP,
    ]
)

FILES = pa.schema(
    [
        _required("partition", pa.string()),
        _required("source", pa.string()),
        _required("path", pa.string()),
        _required("content", pa.string()),  # digest of what the survey found in the file
    ]
)
"""One row a source file of a version."""


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly this schema: columns in order, types equal, no null where none may be.

    Raises ContractError naming the column and both types.
    """
    if table.column_names != schema.names:
        raise ContractError(f"columns are {table.column_names}, expected {schema.names}")
    for wanted in schema:
        column = table.column(wanted.name)
        if column.type != wanted.type:
            raise ContractError(f"column {wanted.name} is {column.type}, expected {wanted.type}")
        if not wanted.nullable and column.null_count:
            raise ContractError(
                f"column {wanted.name} has {column.null_count} nulls, expected none"
            )
    return table.cast(schema)
