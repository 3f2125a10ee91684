from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ContractError
from schemas.tables import SURVEYED
from tests.workers.conversations import TALK, Turns, decoded, learned, run, sample
from workers.text_tokenizers import BytesTokenizer
from workers.turns import Turn, media_in_front, read_turns


def test_chatml_writes_roles_and_learns_answers() -> None:
    (row,) = run([sample(TALK)])
    assert decoded(row) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is in the picture?<|im_end|>\n"
        "<|im_start|>assistant\nA red house.<|im_end|>\n"
        "<|im_start|>user\nAnd ?<|im_end|>\n"
        "<|im_start|>assistant\nA blue car über 图片 😀.<|im_end|>\n"
    )
    assert learned(row) == ["A red house.<|im_end|>", "A blue car über 图片 😀.<|im_end|>"]
    first, second = (BytesTokenizer().decode(row["tokens"][:slot]) for slot in row["slots"])
    assert first.endswith("<|im_start|>user\n")
    assert second.endswith("<|im_start|>user\nAnd ")


def test_plain_joins_texts_and_learns_answers_and_the_end() -> None:
    (row,) = run([sample([("user", [0, "Q "]), ("assistant", ["A", 1])])], template="plain")
    assert decoded(row) == "Q A<|endoftext|>"
    assert learned(row) == ["A<|endoftext|>"]
    assert row["slots"] == [0, 3]


def test_media_alone_have_no_text_and_nothing_to_learn() -> None:
    rows = run(
        [
            sample([("user", [0, "Q ", 1]), ("assistant", ["A"])]),
            sample([("text", ["no picture"])]),
        ],
        template="none",
    )
    assert (rows[0]["tokens"], rows[0]["loss"], rows[0]["slots"]) == ([], [], [0, 0])
    assert [row["drop"] for row in rows] == [None, "empty_sample"]


def test_turns_are_read_from_any_slice() -> None:
    samples = [sample([("text", [str(i), 0]), ("user", [])]) for i in range(3)] + [sample([])]
    table = pa.Table.from_pylist(samples, schema=SURVEYED)
    wanted = [[Turn("text", [str(i), 0]), Turn("user", [])] for i in range(3)] + [[]]
    assert list(read_turns(table.column("turns"))) == wanted
    assert list(read_turns(table.slice(1, 2).column("turns"))) == wanted[1:3]
    joined = pa.concat_tables([table.slice(2), table.slice(0, 1)])
    assert list(read_turns(joined.column("turns"))) == [*wanted[2:], wanted[0]]
    assert list(read_turns(table.slice(4).column("turns"))) == []


@pytest.mark.parametrize("template", ["plain", "chatml"])
def test_a_document_is_learned_from_its_second_token_on(template: str) -> None:
    (row,) = run([sample([("text", ["a", 0, "b"])])], template=template)
    assert decoded(row) == "ab<|endoftext|>"
    assert learned(row) == ["b<|endoftext|>"]
    assert row["slots"] == [1]
    (after,) = run([sample([("text", [0, "ab"])])], template=template)
    assert learned(after) == ["ab<|endoftext|>"]  # its first token stands behind a picture


def test_dropped_rows_stay_empty_and_new_drops_have_reasons() -> None:
    rows = run(
        [
            sample([("user", ["Q"]), ("assistant", ["A"])], drop="truncated"),
            sample([("user", ["Q"])]),
            sample([("user", ["Q"]), ("assistant", [""])]),
            sample([("text", [0, 1])]),
            sample([("text", ["x\ufdd0"])]),
            sample([("text", ["kept"])]),
        ]
    )
    drops = [row["drop"] for row in rows]
    assert drops == [None, "empty_sample", "empty_sample", "empty_sample", "bad_record", None]
    assert all(row["tokens"] == row["loss"] == row["slots"] == [] for row in rows[:5])
    assert "U+FDD0" in rows[4]["message"]
    assert rows[5]["tokens"]


def test_no_rows_give_no_rows() -> None:
    assert run([]) == []


def test_prompt_suffix_goes_to_the_last_text_of_user_turns() -> None:
    turns: Turns = [
        ("user", ["Q", 0, "R", 1]),
        ("assistant", ["A"]),
        ("user", [2]),
        ("assistant", ["B"]),
    ]
    row, other = run(
        [sample(turns), sample(turns, source="t")], suffix={"s": "!"}, template="plain"
    )
    assert decoded(row) == "QR!A!B<|endoftext|>"
    assert row["slots"] == [1, 3, 4]
    assert decoded(other) == "QRAB<|endoftext|>"


def test_items_out_of_order_break_the_contract() -> None:
    with pytest.raises(ContractError, match=r"\[1, 0\]"):
        run([sample([("text", [1, 0, "x"])])])


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["system", "user", "assistant", "text"]),
                st.lists(st.one_of(st.text(max_size=4), st.none()), max_size=3),
            ),
            max_size=3,
        ),
        max_size=4,
    ),
    st.sampled_from(["plain", "chatml"]),
)
def test_every_row_is_in_bounds_or_dropped(
    samples: list[list[tuple[str, list[str | None]]]], template: str
) -> None:
    numbered = []
    for turns in samples:
        numbers = iter(range(99))
        numbered.append(
            sample([(role, [next(numbers) if p is None else p for p in ps]) for role, ps in turns])
        )
    for given_sample, row in zip(numbered, run(numbered, template=template), strict=True):
        length = len(row["tokens"])
        if row["drop"]:
            assert not length
            continue
        assert len(row["slots"]) == len(given_sample["items"])
        assert row["slots"] == sorted(row["slots"])
        assert all(0 <= slot <= length for slot in row["slots"])
        assert row["loss"]
        assert row["loss"] == sorted(set(row["loss"]))
        assert row["loss"][-1] <= length


def text_and_slots(turns: Turns, **text: Any) -> tuple[str, list[str]]:
    """The text of a sample, and what stands before each of its media."""
    (row,) = run([sample(turns)], **{"template": "plain", **text})
    return decoded(row), [BytesTokenizer().decode(row["tokens"][:slot]) for slot in row["slots"]]


@pytest.mark.parametrize(
    ("turns", "wanted"),
    [
        # one medium: LLaVA's own training code, which strips the text
        ([("user", ["What is ", 0, " this? "])], [("user", [0, "\nWhat is  this?"])]),
        ([("user", [0, "\nWhat?"])], [("user", [0, "\nWhat?"])]),
        ([("user", [0])], [("user", [0])]),
        # several that already are in front leave nothing behind
        ([("user", [0, 1, "What differs?"])], [("user", [0, 1, "\nWhat differs?"])]),
        # several that move: the k-th <image> is the k-th medium
        (
            [("user", [0, "first", 1, "second"])],
            [("user", [0, 1, "\n<image>first<image>second"])],
        ),
        (
            [("user", ["Q"]), ("assistant", [0, "A", 1]), ("user", ["R", 2])],
            [("user", [0, 1, 2, "\nQ"]), ("assistant", ["A"]), ("user", ["R<image>"])],
        ),
        (
            [("system", ["S", 0]), ("user", [1]), ("assistant", [" A "])],
            [("system", ["S<image>"]), ("user", [0, 1, "\n<image>"]), ("assistant", [" A "])],
        ),
        # documents stay, and divide what stands around them
        (
            [("text", ["d", 0]), ("user", ["Q", 1]), ("text", [2]), ("user", ["R", 3])],
            [("text", ["d", 0]), ("user", [1, "\nQ"]), ("text", [2]), ("user", [3, "\nR"])],
        ),
        # no user turn, no media: as they are
        ([("assistant", ["A ", 0])], [("assistant", ["A ", 0])]),
        ([("user", [" Q "])], [("user", [" Q "])]),
        ([], []),
    ],
)
def test_media_go_to_the_front_of_the_first_user_turn(turns: Turns, wanted: Turns) -> None:
    moved = media_in_front([Turn(role, parts) for role, parts in turns])
    assert moved == [Turn(role, parts) for role, parts in wanted]


def test_the_place_of_media_is_chosen_by_the_recipe() -> None:
    turns: Turns = [("user", ["Is ", 0, " like ", 1, "?"]), ("assistant", ["Yes"])]
    assert text_and_slots(turns) == ("Is  like ?Yes<|endoftext|>", ["Is ", "Is  like "])
    front = ("\nIs <image> like <image>?Yes<|endoftext|>", ["", ""])
    assert text_and_slots(turns, media="front") == front
    chatml, before = text_and_slots(turns, media="front", template="chatml")
    assert before == ["<|im_start|>user\n"] * 2
    assert chatml.startswith("<|im_start|>user\n\nIs <image> like")


def test_a_prompt_suffix_ends_the_text_that_moved_media_leave() -> None:
    (row,) = run(
        [sample([("user", ["Q", 0]), ("assistant", ["A"])])],
        suffix={"s": "\nBriefly. "},
        template="plain",
        media="front",
    )
    assert decoded(row) == "\nQ\nBriefly. A<|endoftext|>"
    assert row["slots"] == [0]


def test_mixed_moves_a_half_that_the_seed_chooses() -> None:
    samples = [
        sample([("user", ["Q", 0]), ("assistant", ["A"])]) | {"sample_id": f"s/{i}"}
        for i in range(400)
    ]

    def moved(media: str, seed: int = 0, rows: slice = slice(None)) -> list[bool]:
        found = run(samples[rows], seed=seed, media=media, template="plain")
        return [row["slots"] == [0] for row in found]

    assert moved("front") == [True] * 400
    assert moved("in_place") == [False] * 400
    first = moved("mixed")
    assert 160 < sum(first) < 240
    assert moved("mixed", seed=1) != first
    assert moved("mixed", rows=slice(5, 9)) == first[5:9]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["system", "user", "assistant", "text"]),
            st.lists(st.one_of(st.text(max_size=4), st.none()), max_size=4),
        ),
        max_size=5,
    )
)
def test_moving_keeps_items_in_order_and_answers_as_they_are(
    turns: list[tuple[str, list[str | None]]],
) -> None:
    numbers = iter(range(99))
    given_turns = [
        Turn(role, [next(numbers) if p is None else p for p in parts]) for role, parts in turns
    ]
    moved = media_in_front(given_turns)
    shown = [part for turn in moved for part in turn.parts if isinstance(part, int)]
    assert shown == list(range(len(shown)))
    assert len(shown) == sum(part is None for _, parts in turns for part in parts)
    for before, after in zip(given_turns, moved, strict=True):
        assert before.role == after.role
        if before.learned:
            said = "".join(part for part in before.parts if isinstance(part, str))
            assert "".join(part for part in after.parts if isinstance(part, str)) in (
                said,
                said.strip(),
            )
