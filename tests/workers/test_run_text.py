"""Texts around runs become ids: special tokens by name, all else as text."""

import numpy as np
import pytest

from schemas.errors import RecipeError
from schemas.sized import Texts
from schemas.texts import specials, split_at_tokens, token, written
from workers.bytes_tokenizer import RESERVED, BytesTokenizer
from workers.geometry import geometry
from workers.policies.pixtral import Pixtral
from workers.run_text import RunText
from workers.text_config import INNER_NAMES

BYTES = BytesTokenizer()


def test_special_tokens_stand_among_text() -> None:
    text = f"a{token('[IMG_BREAK]')}{token('[IMG_END]')}b"
    assert split_at_tokens(text) == ["a", "[IMG_BREAK]", "", "[IMG_END]", "b"]
    assert (written(text), specials(text)) == ("a[IMG_BREAK][IMG_END]b", 2)
    run_text = RunText(BYTES.encode, BYTES.special)
    [number] = run_text.add(Texts(np.array([0]), [(text, "", "b")])).tolist()
    ids = [ord("a"), BYTES.special("[IMG_BREAK]"), BYTES.special("[IMG_END]"), ord("b")]
    assert list(map(list, run_text.texts(number, 2))) == [ids, [], [ord("b")]]
    assert run_text.counts(np.array([number])).tolist() == [5]


def test_a_name_that_somebody_typed_is_text() -> None:
    run_text = RunText(BYTES.encode, BYTES.special)
    [number] = run_text.add(Texts(np.array([0]), [("[IMG_END]", "")])).tolist()
    assert list(run_text.texts(number, 1)[0]) == list(b"[IMG_END]")


def test_a_token_that_the_tokenizer_lacks_is_told() -> None:
    with pytest.raises(RecipeError, match="reserves no id"):
        RunText(BYTES.encode, BYTES.special).add(Texts(np.array([0]), [(token("<odd>"), "")]))


def test_the_bytes_tokenizer_knows_every_name_once() -> None:
    assert len({BYTES.special(name) for name in INNER_NAMES}) == len(set(INNER_NAMES))
    assert len(set(RESERVED)) == len(RESERVED)  # a name twice would have the later id
    assert RESERVED.index("<unk>") + 1 == RESERVED.index(INNER_NAMES[0]) == 46  # none moved


def test_geometry_prints_the_names_alone() -> None:
    [record] = geometry(Pixtral(), [{"width": 40, "height": 40}])
    assert record["texts"] == ["", *["[IMG_BREAK]"] * 2, "[IMG_END]"]
