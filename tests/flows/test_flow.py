"""The flow on Prefect's temporary server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prefect import flow
from prefect.artifacts import Artifact as Artifacts
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact, State
from prefect.exceptions import ParameterTypeError
from typer.testing import CliRunner

import flows.build
from flows.build import as_task, build_flow
from flows.cli import app
from pipelines.build import Built
from schemas.errors import BuildError, RecipeError, TransientError
from schemas.manifest import Manifest
from tests.flows.dated import Inline, write_days
from tests.tiny_source import write_recipe, write_source


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    records = write_source(folder / "source", bad=True)
    return write_recipe(folder / "recipe.toml", folder / "out", {"tiny": records})


@pytest.fixture(scope="module")
def built(server: None, recipe: Path) -> Built:
    del server
    built = build_flow(str(recipe), workers=2)
    assert built is not None
    return built


def test_the_flow_builds_and_leaves_a_summary(built: Built) -> None:
    assert (built.new, built.manifest.version) == (True, 1)
    found = Artifacts.get("patchpack-tiny")
    assert isinstance(found, Artifact)
    assert found.description == "Summary of tiny"
    assert isinstance(found.data, str)
    assert "| samples seen | 24 |" in found.data
    assert "| dropped: undecodable | 1 |" in found.data


def test_a_dry_run_leaves_a_plan_and_builds_nothing(
    server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del server
    engine = Inline()
    monkeypatch.setattr(flows.build, "RayEngine", lambda _: engine)
    assert build_flow(str(write_days(tmp_path)), dry_run=True) is None
    assert engine.made == {"run_survey": 3, "run_tokenize": 3}
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".cache"]
    found = Artifacts.get("patchpack-dated-plan")
    assert isinstance(found, Artifact)
    assert found.description == "Plan of dated"
    assert isinstance(found.data, str)
    assert "| source files | 3 new, 0 changed, 0 gone, 0 as they were |" in found.data
    with get_client(sync_client=True) as client:
        names = [run.name for run in client.read_flow_runs()]
    assert f"plan {tmp_path}/recipe.toml" in names


def test_a_stage_that_there_is_not_is_refused(server: None, recipe: Path) -> None:
    del server
    with pytest.raises(ParameterTypeError, match="stages"):
        build_flow(str(recipe), stages=["publish"])  # type: ignore[list-item]


def test_a_second_command_has_nothing_to_do(built: Built, recipe: Path) -> None:
    result = CliRunner().invoke(app, ["build", str(recipe)])
    assert (result.exit_code, result.stderr) == (0, "")
    last = result.stdout.splitlines()[-1]
    assert last.startswith("nothing to do")
    assert str(recipe.parent / "out") in last
    result = CliRunner().invoke(app, ["build", str(recipe), "--json"])
    assert Manifest.model_validate_json(result.stdout) == built.manifest


def test_runs_have_readable_names(built: Built, recipe: Path) -> None:
    del built
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.name == f"build {recipe}"]
        tasks = client.read_task_runs()
    assert [run.state_name for run in runs] == ["Completed"]
    names = {
        re.sub("-[0-9a-f]{3}$", "", task.name) for task in tasks if task.flow_run_id == runs[0].id
    }
    assert names >= {"survey", "tokenize", "plan 0", "render 0", "assemble 0", "ledger", "publish"}


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (TransientError("a worker was lost"), 2),
        (ConnectionResetError("reset"), 2),
        (BuildError("too many drops"), 1),
        (RecipeError("no such key"), 1),
        (ZeroDivisionError("a bug"), 1),
    ],
)
def test_only_what_may_pass_is_tried_again(
    server: None, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int
) -> None:
    del server
    monkeypatch.setattr(flows.build, "RETRY_DELAY_SECONDS", 0)
    tried: list[int] = []

    def stage() -> str:
        tried.append(1)
        if len(tried) == 1:
            raise error
        return "done"

    @flow(name="retries", validate_parameters=False)
    def once() -> str:
        return as_task("stage", stage)

    state: State[str] = once(return_state=True)
    assert len(tried) == tries
    if tries == 2:
        assert state.result() == "done"
    else:
        with pytest.raises(type(error), match=str(error)):
            state.result()


def test_a_fault_that_stays_ends_the_retries(server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del server
    monkeypatch.setattr(flows.build, "RETRY_DELAY_SECONDS", 0)
    tried: list[int] = []

    def stage() -> None:
        tried.append(1)
        raise TransientError("a worker was lost")

    @flow(name="gives-up", validate_parameters=False)
    def again() -> None:
        as_task("stage", stage)

    with pytest.raises(TransientError, match="a worker was lost"):
        again()
    assert len(tried) == 1 + flows.build.RETRIES
