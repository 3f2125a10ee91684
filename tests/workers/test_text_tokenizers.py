from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import AddedToken

from schemas.errors import ContractError, RecipeError
from tests.workers.tiny_tokenizer import INTERNVL_SPECIALS, QWEN_SPECIALS, save_tokenizer
from workers.bytes_tokenizer import RESERVED
from workers.text_config import FAMILIES, VISION_NAMES, TextConfig
from workers.text_tokenizers import BytesTokenizer, Tokenizer, load_tokenizer, tokenizer_digest
from workers.tokenizer_protocol import BREAK, BREAK_ID, Document, reserved_character


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tokenizer(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny(directory: str) -> Tokenizer:
    return load_tokenizer(TextConfig(tokenizer=directory))


def test_bytes_ids_are_fixed() -> None:
    tokenizer = BytesTokenizer()
    assert tokenizer.encode("hé") == [104, 0xC3, 0xA9]
    assert [tokenizer.special(name) for name in RESERVED] == list(range(256, 256 + len(RESERVED)))
    assert RESERVED[:8] == (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>",
        "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<img>",
    )  # fmt: skip
    assert set(VISION_NAMES) <= set(RESERVED)
    assert tokenizer.vocab_size == 256 + len(RESERVED)


def test_bytes_have_no_other_specials_and_no_template() -> None:
    with pytest.raises(RecipeError, match="<extra>"):
        BytesTokenizer().special("<extra>")
    with pytest.raises(RecipeError, match="chat template"):
        BytesTokenizer().chat_template()
    with pytest.raises(ValidationError, match="bytes has no chat template"):
        TextConfig(template="tokenizer")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=BREAK)))
def test_bytes_round_trip(text: str) -> None:
    tokenizer = BytesTokenizer()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.text("aé😀 \n", max_size=5), min_size=1), st.data())
def test_learned_spans_of_bytes_are_those_of_the_characters(
    texts: list[str], data: st.DataObject
) -> None:
    text = BREAK.join(texts)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    (encoded,) = BytesTokenizer().encode_documents([Document(text, [(start, end)])])
    ((first, last),) = encoded.learned
    assert _written(encoded.ids[first:last].tolist()) == text[start:end]
    assert _written(encoded.ids.tolist()) == text


def _written(ids: list[int]) -> str:
    return b"".join(BREAK.encode() if i == BREAK_ID else bytes([i]) for i in ids).decode()


def test_bytes_import_no_model_library() -> None:
    code = (
        "import sys; from workers.text_config import TextConfig;"
        "from workers.text_tokenizers import load_tokenizer; load_tokenizer(TextConfig());"
        "import workers.tokenize_text, workers.expand;"
        "assert not {'transformers', 'tokenizers', 'jinja2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_digest_of_a_directory_needs_no_model_library(directory: str) -> None:
    code = (
        "import sys; from workers.text_config import TextConfig;"
        "from workers.text_tokenizers import tokenizer_digest;"
        f"print(tokenizer_digest(TextConfig(tokenizer={directory!r})));"
        "assert not {'transformers', 'tokenizers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(
        command, check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert run.stdout.strip() == load_tokenizer(TextConfig(tokenizer=directory)).digest


def test_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    one = save_tokenizer(tmp_path / "one")
    two = save_tokenizer(tmp_path / "two")
    digests = [tokenizer_digest(TextConfig(tokenizer=name)) for name in (one, two)]
    (Path(two) / "weights.bin").write_bytes(b"no part of it")
    assert [tokenizer_digest(TextConfig(tokenizer=name)) for name in (one, two)] == digests
    assert digests[0] == digests[1]
    (Path(two) / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_digest(TextConfig(tokenizer=two)) != digests[1]


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", ""])
def test_a_missing_directory_is_named(name: str) -> None:
    with pytest.raises(RecipeError, match=r'text\.tokenizer = ".*" is no directory'):
        tokenizer_digest(TextConfig(tokenizer=name))


def test_a_directory_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no tokenizer"):
        tokenizer_digest(TextConfig(tokenizer=str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(RecipeError, match="does not load") as caught:
        load_tokenizer(TextConfig(tokenizer=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_user_text_never_becomes_a_special_token(tiny: Tokenizer) -> None:
    specials = {tiny.special(name) for name in (*QWEN_SPECIALS, *INTERNVL_SPECIALS)}
    for name in (*QWEN_SPECIALS, *INTERNVL_SPECIALS):
        ids = tiny.encode(f"a {name} b")
        assert not specials & set(ids)
        assert tiny.decode(ids) == f"a {name} b"


def test_a_vision_token_that_the_tokenizer_calls_ordinary_is_special_too(tmp_path: Path) -> None:
    image = AddedToken("<image>", special=False)
    row = AddedToken("<row_1_col_2>", special=False)
    think = AddedToken("<think>", special=False)
    name = save_tokenizer(tmp_path, specials=("<|im_end|>", image, row, think))
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    for token in data["added_tokens"]:
        token["special"] = token["content"] == "<|im_end|>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = load_tokenizer(TextConfig(tokenizer=name, family="llava"))
    assert tokenizer.special("<image>") not in tokenizer.encode("<image>")
    assert tokenizer.special("<row_1_col_2>") not in tokenizer.encode("<row_1_col_2>")
    assert tokenizer.special("<think>") in tokenizer.encode("<think>")  # text that models write


def test_a_missing_token_is_named_with_family_and_tokenizer(tmp_path: Path) -> None:
    name = save_tokenizer(tmp_path, specials=QWEN_SPECIALS)
    tokenizer = load_tokenizer(TextConfig(tokenizer=name, family="internvl"))
    with pytest.raises(RecipeError) as caught:
        tokenizer.special(FAMILIES["internvl"].image.pad)
    for part in ("<IMG_CONTEXT>", "internvl", name):
        assert part in str(caught.value)


def test_end_of_text_falls_back_to_eos(tmp_path: Path, tiny: Tokenizer) -> None:
    assert tiny.end_of_text == tiny.special("<|endoftext|>")
    name = save_tokenizer(tmp_path, specials=("</s>",), eos="</s>")
    tokenizer = load_tokenizer(TextConfig(tokenizer=name))
    assert tokenizer.end_of_text == tokenizer.special("</s>")


def test_truncation_in_the_file_is_ignored(tmp_path: Path) -> None:
    name = save_tokenizer(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    data["truncation"] = {
        "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    tokenizer = load_tokenizer(TextConfig(tokenizer=name))
    assert (
        tokenizer.decode(tokenizer.encode("jumps over the lazy dog")) == "jumps over the lazy dog"
    )


def test_vocab_size_counts_the_files_tokens_only(tiny: Tokenizer) -> None:
    ids = [tiny.special(name) for name in (*QWEN_SPECIALS, *INTERNVL_SPECIALS)]
    assert tiny.vocab_size == max(ids) + 1


def test_reserved_characters_are_found(tiny: Tokenizer) -> None:
    assert reserved_character(["é", "x\ufdd3"]) == "U+FDD3"
    assert reserved_character(["é", "x"]) is None
    with pytest.raises(ContractError):
        tiny.encode(f"a{BREAK}b")


@given(st.lists(st.text("a é😀\nfox", max_size=8), min_size=1), st.data())
def test_learned_spans_hold_the_learned_characters(
    tiny: Tokenizer, texts: list[str], data: st.DataObject
) -> None:
    text = BREAK.join(texts)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    (encoded,) = tiny.encode_documents([Document(text, [(start, end)])])
    ((first, last),) = encoded.learned
    assert (encoded.ids == BREAK_ID).sum() == text.count(BREAK)
    learned = encoded.ids[first:last]
    mark = tiny.special("<|im_end|>")
    found = tiny.decode([mark if i == BREAK_ID else int(i) for i in learned])
    assert text[start:end] in found.replace("<|im_end|>", BREAK)
    assert (learned == BREAK_ID).sum() == text[start:end].count(BREAK)
