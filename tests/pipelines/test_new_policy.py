"""A policy is one file and one name in the union: built, checked and asked about."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pipelines.policies
from pipelines.verify import verify
from pipelines.versions import read_manifest
from tests.flows.dated import DAYS, write_dated_recipe, write_days

POLICY = """
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from schemas.sized import Media, Sized
from workers.policies.fixed import Fixed
from workers.policies.protocol import Names


class Thumbnail(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1
    NAMES: ClassVar[Names] = Names()
    positions: ClassVar[str] = "1d"
    family: ClassVar[str] = "llava"
    alpha: ClassVar[str] = "white"
    kind: Literal["thumbnail"] = "thumbnail"
    variant: Literal["square"] = "square"
    side: int = 28

    def size(self, media: Media) -> Sized:
        return Fixed(image_size=self.side, num_frames=1).size(media)

    def smaller(self) -> None:
        return None
"""

RUN = """
import sys, types
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
module = sys.modules["pipelines.policies"] = types.ModuleType("pipelines.policies")
exec((folder / "policies.py").read_text(), vars(module))

from flows.cli import app
from tests.flows.dated import build_here

build_here(folder / "recipe.toml")
app(["geometry", "--policy", "thumbnail"])
"""


def test_a_policy_is_one_file_and_one_name(tmp_path: Path) -> None:
    write_days(tmp_path)
    write_dated_recipe(tmp_path, policy='kind = "thumbnail"\nside = 42')
    (tmp_path / "thumbnail.py").write_text(POLICY)
    union = Path(pipelines.policies.__file__).read_text()
    named = union.replace("    Fixed\n", "    Fixed\n    | Thumbnail\n")
    named = named.replace("from typing", "from thumbnail import Thumbnail\nfrom typing", 1)
    assert len(named.splitlines()) == len(union.splitlines()) + 2
    (tmp_path / "policies.py").write_text(named)
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)],
        input='{"width": 800, "height": 1300}\n',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["llm_tokens"] == (28 // 14) ** 2
    root = tmp_path / "out"
    assert verify(root).problems == []
    manifest = read_manifest(root)
    assert sum(one.samples for one in manifest.partitions) == 6 * len(DAYS)
