"""`linftui recipe`: what a person asks of a recipe before running it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from linftui.recipe.load import load_recipe, parse_recipe, to_builtins
from linftui.recipe.schema import json_schema

Command = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED = sorted(path.stem for path in (Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_check_approves_of_files_and_of_names(linftui: Command, tiny_recipe: Path) -> None:
    done = linftui("recipe", "check", tiny_recipe, *SHIPPED)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tiny_recipe}: ok"
    assert [Path(line.removesuffix(": ok")).stem for line in lines[1:]] == SHIPPED


def test_check_cautions_where_p_stays_finite(linftui: Command, tiny_recipe: Path) -> None:
    done = linftui("recipe", "check", tiny_recipe, "--set", "p.end_epoch=5")
    assert (done.returncode, done.stdout) == (0, f"{tiny_recipe}: ok\n")
    [caution] = done.stderr.splitlines()
    assert caution.startswith(f"linftui: warning: {tiny_recipe}: p.end_epoch (5) lies beyond epochs (3)")


def test_a_run_begins_with_the_cautions_too(linftui: Command, tiny_recipe: Path) -> None:
    changes = ("--set", "p.final=50", "--set", "model.depth=1")
    done = linftui("run", tiny_recipe, *changes, "--devices", "cpu", "--dry-run")
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first.startswith("linftui: warning: p.final (50) is below 100, and at p.end_epoch p jumps")
    assert second.startswith("linftui: warning: model.depth is 1: a single layer")


def test_check_refuses_with_the_place_and_the_nearest_name(
    fails: Callable[..., str], tiny_recipe: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(tiny_recipe.read_text().replace("width:", "witdh:"))
    sentence = fails(2, "recipe", "check", "wrong.yaml")
    assert sentence == "wrong.yaml:5:9: unknown key model.witdh; did you mean model.width?"


def test_show_prints_yaml_that_reads_back_equal(linftui: Command, tiny_recipe: Path) -> None:
    done = linftui("recipe", "show", tiny_recipe, "--set", "optimizer.adam_eps=1e-9", "--set", "name=1e5x")
    assert (done.returncode, done.stderr) == (0, "")
    expected = load_recipe(tiny_recipe, ["optimizer.adam_eps=1e-9", "name=1e5x"]).recipe
    assert parse_recipe(done.stdout, "shown").recipe == expected


def test_show_prints_json_on_one_line(linftui: Command, tiny_recipe: Path) -> None:
    done = linftui("recipe", "show", tiny_recipe, "--json")
    [line] = done.stdout.splitlines()
    assert json.loads(line) == to_builtins(load_recipe(tiny_recipe).recipe)


def test_schema_prints_the_json_schema(linftui: Command) -> None:
    assert json.loads(linftui("recipe", "schema").stdout) == json_schema()


def test_list_shows_recipes_here_and_those_that_came_along(
    linftui: Command, tiny_recipe: Path, tmp_path: Path
) -> None:
    here = tmp_path / "recipes"
    here.mkdir()
    (here / "mine.yaml").write_text(tiny_recipe.read_text() + "description: my own\n")
    (here / "broken.yaml").write_text("name: [")
    lines = linftui("recipe", "list").stdout.splitlines()
    assert lines[0].split() == ["RECIPE", "DESCRIPTION", "FILE"]
    assert sorted(line.split()[0] for line in lines[1:]) == sorted([*SHIPPED, "mine", "broken"])

    listed = [json.loads(line) for line in linftui("recipe", "list", "--json").stdout.splitlines()]
    found = {entry["name"]: entry for entry in listed}
    assert found["mine"] == {"name": "mine", "description": "my own", "path": "recipes/mine.yaml"}
    assert found["broken"]["description"].startswith(
        "cannot be used: recipes/broken.yaml:1:8: not valid YAML"
    )
    assert "8/255" in found["cifar"]["description"]
