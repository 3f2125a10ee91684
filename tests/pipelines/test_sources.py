"""Where the files of a source are found: files, folders, patterns, roots."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.load_recipe import load_recipe
from pipelines.sources import OpenSource, open_sources
from schemas.errors import RecipeError

FILES = (
    *("a/x.jsonl", "a/y.jsonl", "a/y.txt", "a/deep/z.jsonl", "b/x.jsonl", "b/t.tar"),
    *("b[1]/x.jsonl", "b[1]/what?.jsonl", "c/p.png"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    return tmp_path


def opened(folder: Path, kind: str, path: str, root: str = "") -> OpenSource:
    more = f'root = "{folder / root}"' if root else ""
    recipe = folder / "r.toml"
    recipe.write_text(
        f'name = "r"\n[[sources]]\nname = "s"\nkind = "{kind}"\npath = "{folder}/{path}"\n{more}\n'
        f'[[policy]]\nkind = "fixed"\n[output]\npath = "{folder}/out"\n'
    )
    (source,) = open_sources(load_recipe(recipe))
    return source


def listed(folder: Path, path: str, root: str = "", kind: str = "records") -> list[str]:
    return [file.path for file in opened(folder, kind, path, root).listed()]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/x.jsonl", ["x.jsonl"]),
        ("a", ["deep/z.jsonl", "x.jsonl", "y.jsonl"]),
        ("a/", ["deep/z.jsonl", "x.jsonl", "y.jsonl"]),
        ("a/*.jsonl", ["x.jsonl", "y.jsonl"]),
        ("a/*", ["x.jsonl", "y.jsonl", "y.txt"]),
        ("a/**/*.jsonl", ["deep/z.jsonl", "x.jsonl", "y.jsonl"]),
        ("*/x.jsonl", ["a/x.jsonl", "b/x.jsonl", "b[1]/x.jsonl"]),
        ("b[1]/x.jsonl", ["x.jsonl"]),
        ("b[1]/what?.jsonl", ["what?.jsonl"]),
        ("c/../a/x.jsonl", ["x.jsonl"]),
    ],
)
def test_files_of_a_path(folder: Path, path: str, found: list[str]) -> None:
    assert listed(folder, path) == found


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("a/x.jsonl", ".", ["a/x.jsonl"]),
        ("a", ".", ["a/deep/z.jsonl", "a/x.jsonl", "a/y.jsonl"]),
        ("a", "a", ["deep/z.jsonl", "x.jsonl", "y.jsonl"]),
        ("a/*/z.jsonl", "a", ["deep/z.jsonl"]),
        ("a/x.jsonl", "b", ["x.jsonl"]),
    ],
)
def test_paths_below_the_root_are_relative_to_it(
    folder: Path, path: str, root: str, found: list[str]
) -> None:
    assert listed(folder, path, root) == found
    assert opened(folder, "records", path, root).root.url == str((folder / root).resolve())


@pytest.mark.parametrize(
    ("kind", "path", "root", "told"),
    [
        ("records", "a/none.jsonl", "", r"a/none.jsonl: no such file"),
        ("records", "a/*.tar", "", r"a/\*.tar: no such file"),
        ("records", "a/x.jsonl", "none", r"sources.s.root: .*none is not a folder"),
        ("webdataset", "b/t.tar", "a", r"b/t.tar must lie below the source's root"),
        ("folder", "c", "a", r"c must lie below the source's root"),
        ("internvl_jsonl", "a", "", r"expected a meta file"),
        ("internvl_jsonl", "a/*.jsonl", "", r"expected a meta file"),
    ],
)
def test_what_is_not_there_is_named(
    folder: Path, kind: str, path: str, root: str, told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        opened(folder, kind, path, root).listed()
