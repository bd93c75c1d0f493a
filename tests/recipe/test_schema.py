"""What a recipe may say: every rule, every default, every description, and fractions to the last digit."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from linftui.errors import RecipeError
from linftui.recipe.data import DataSection
from linftui.recipe.fraction import format_fraction, read_fraction
from linftui.recipe.load import load_recipe, parse_recipe
from linftui.recipe.objective import Lam
from linftui.recipe.schema import Eps, P, json_schema

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))

# Nothing but what has no default.
LEAST = """\
name: least
epochs: 10
batch_size: 32
data: {dataset: digits}
model: {width: 16, depth: 2}
eps: {train: 0.3, test: 0.1}
p: {begin_epoch: 1, end_epoch: 9}
objective: {lam: {start: 0.1, end: 0.001}}
"""

NAME_RULE = "a plain name: letters, digits, dots, dashes and underscores, 64 at most"
FRACTION_RULE = "a fraction such as 8/255 or a decimal such as 0.1"
EPS_RULE = "> 0 and <= 1 (pixels lie in [0, 1])"

WRONG = {
    "name=": "name must be text, got nothing",
    "name=7": "name must be text, got 7",
    "name=a/b": f"name must be {NAME_RULE}, got 'a/b'",
    "name=..": f"name must be {NAME_RULE}, got '..'",
    'name="a\\n"': f"name must be {NAME_RULE}, got 'a\\n'",
    "description=7": "description must be text, got 7",
    "seed=-1": "seed must be >= 0, got -1",
    "seed=9223372036854775808": "seed must be <= 9223372036854775807, got 9223372036854775808",
    "seed=99999999999999999999999": "seed must be <= 9223372036854775807, got 99999999999999999999999",
    "model.identity=1e31": "model.identity must be <= 1e+30, got 1e+31",
    "optimizer.lr=1e39": "optimizer.lr must be <= 3e+38, got 1e+39",
    "optimizer.lr=1e38": "optimizer.lr must be <= 3e38 * (1 - beta1), which is 3e+37, got 1e+38",
    "seed=1.5": "seed must be a whole number, got 1.5",
    "epochs=0": "epochs must be >= 1, got 0",
    "epochs=4294967297": "epochs must be <= 4294967296, got 4294967297",
    "batch_size=9007199254740993": "batch_size must be <= 9007199254740992, got 9007199254740993",
    "epochs=true": "epochs must be a whole number, got true",
    "epochs=3.0": "epochs must be a whole number, got 3.0",
    "batch_size=0": "batch_size must be >= 1, got 0",
    "batch_size='32'": "batch_size must be a whole number, got '32'",
    "data=digits": "data must be a section of keys, got 'digits'",
    "data.dataset=svhn": "data.dataset must be one of digits, mnist, cifar10, got 'svhn'",
    "data.root=5": "data.root must be text or null, got 5",
    "data.holdout=-1": "data.holdout must be >= 0, got -1",
    "data.augment.crop_padding=-1": "data.augment.crop_padding must be >= 0, got -1",
    "data.augment.crop_padding=17": "data.augment.crop_padding must be <= 16, got 17",
    "data.augment.flip=no": "data.augment.flip must be true or false, got 'no'",
    "data.augment.flip=1": "data.augment.flip must be true or false, got 1",
    "model=[8, 2]": "model must be a section of keys, got a list",
    "model.kind=resnet": "model.kind must be one of mlp, got 'resnet'",
    "model.width=0": "model.width must be >= 1, got 0",
    "model.width=null": "model.width must be a whole number, got nothing",
    "model.depth=0": "model.depth must be >= 1, got 0",
    "model.identity=-1": "model.identity must be >= 0, got -1",
    "model.identity=.inf": "model.identity must be a number, got '.inf'",
    "eps=0.1": "eps must be a section of keys, got 0.1",
    "eps.train=0": f"eps.train must be {EPS_RULE}, got 0",
    "eps.train=-8/255": f"eps.train must be {EPS_RULE}, got -8/255",
    "eps.train=256/255": f"eps.train must be {EPS_RULE}, got 256/255",
    "eps.test=0": f"eps.test must be {EPS_RULE}, got 0",
    "eps.test=8/0": f"eps.test must be {FRACTION_RULE}, got '8/0'",
    "eps.test=abc": f"eps.test must be {FRACTION_RULE}, got 'abc'",
    "eps.test=true": f"eps.test must be {FRACTION_RULE}, got True",
    "eps.test=[1]": f"eps.test must be {FRACTION_RULE}, got [1]",
    "p.start=0.5": "p.start must be >= 1, got 0.5",
    "p.start=1e5": "p.start must be <= 10000, got 100000.0",
    "p.final=7": "p.final must be >= p.start (8), got 7",
    "p.final=.nan": "p.final must be a number, got '.nan'",
    "p.begin_epoch=-1": "p.begin_epoch must be >= 0, got -1",
    "p.end_epoch=0.5": "p.end_epoch must be > p.begin_epoch (1), got 0.5",
    "objective.kind=hinge": "objective.kind must be one of mixture, got 'hinge'",
    "objective.lam.start=0": "objective.lam.start must be > 0, got 0",
    "objective.lam.end=0": "objective.lam.end must be > 0, got 0",
    "objective.lam.end=1": "objective.lam.end must be <= objective.lam.start (0.1), got 1",
    "optimizer.kind=sgd": "optimizer.kind must be one of adam, got 'sgd'",
    "optimizer.lr=-1": "optimizer.lr must be > 0, got -1",
    "optimizer.lr=1e400": "optimizer.lr must be a number, got '1e400'",
    "optimizer.scalar_lr=0": "optimizer.scalar_lr must be > 0, got 0",
    "optimizer.beta1=1": "optimizer.beta1 must be < 1, got 1",
    "optimizer.beta2=-0.1": "optimizer.beta2 must be >= 0, got -0.1",
    "optimizer.adam_eps=0": "optimizer.adam_eps must be > 0, got 0",
    "evaluation.every_epochs=0": "evaluation.every_epochs must be >= 1, got 0",
    "evaluation.batch_size=0": "evaluation.batch_size must be >= 1, got 0",
    "evaluation.reestimate_means=yes": "evaluation.reestimate_means must be true or false, got 'yes'",
    "checkpoint.every_epochs=0": "checkpoint.every_epochs must be >= 1, got 0",
    "checkpoint.keep=0": "checkpoint.keep must be >= 1, got 0",
    "log.every_steps=0": "log.every_steps must be >= 1, got 0",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_value_is_refused_with_field_rule_and_value(override: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse_recipe(LEAST, "least.yaml", [override])
    assert refused.value.message == f"--set {override}: {WRONG[override]}"


def test_a_contradiction_is_told_at_the_field_that_is_in_the_way() -> None:
    with pytest.raises(
        RecipeError, match=r"^least.yaml:7:32: p.end_epoch must be > p.begin_epoch \(9\), got 9$"
    ):
        parse_recipe(LEAST, "least.yaml", ["p.begin_epoch=9"])


def test_a_contradiction_with_a_default_is_told_at_its_section() -> None:
    with pytest.raises(RecipeError, match=r"^least.yaml:7:4: p.final must be >= p.start \(2000\), got 1000$"):
        parse_recipe(LEAST, "least.yaml", ["p.start=2000"])


def sections_of(facts: dict[str, Any]) -> list[str]:
    """The sections that a field may hold, one a kind; none where it is no section."""
    references = (kind.get("$ref") for kind in facts.get("anyOf", [facts]))
    return [reference.rpartition("/")[2] for reference in references if reference]


def leaves(schema: dict[str, Any], section: str = "Recipe", prefix: str = "") -> Iterator[str]:
    """The dotted names of all fields that are no sections."""
    for field, facts in schema["$defs"][section]["properties"].items():
        for inner in (sections := sections_of(facts)):
            yield from leaves(schema, inner, f"{prefix}{field}.")
        if not sections:
            yield f"{prefix}{field}"


def test_every_field_is_tried_with_a_wrong_value() -> None:
    assert {override.partition("=")[0] for override in WRONG} >= set(leaves(json_schema()))


@pytest.mark.parametrize(
    "line", ["name", "epochs", "batch_size", "data", "model", "eps", "p", "objective"], ids=str
)
def test_a_section_without_default_must_be_there(line: str) -> None:
    text = "".join(kept for kept in LEAST.splitlines(keepends=True) if not kept.startswith(f"{line}:"))
    with pytest.raises(RecipeError, match=rf"^least\.yaml:1:1: {line} is missing$"):
        parse_recipe(text, "least.yaml")


@pytest.mark.parametrize(
    "field",
    ["data.dataset", "model.width", "model.depth", "eps.train", "eps.test", "p.begin_epoch", "p.end_epoch"]
    + ["objective.lam", "objective.lam.start", "objective.lam.end"],
)
def test_a_field_without_default_must_be_there(field: str) -> None:
    values = yaml.safe_load(LEAST)
    *sections, name = field.split(".")
    parent = values
    for section in sections:
        parent = parent[section]
    del parent[name]
    with pytest.raises(RecipeError, match=rf": {field} is missing$"):
        parse_recipe(yaml.safe_dump(values), "least.yaml")


def test_defaults_are_the_papers() -> None:
    recipe = parse_recipe(LEAST, "least.yaml").recipe
    assert (recipe.seed, recipe.description, recipe.model.identity) == (0, "", 10)
    assert (recipe.p.start, recipe.p.final) == (8, 1000)
    adam = recipe.optimizer
    assert (adam.lr, adam.scalar_lr) == (0.03, 0.006)
    assert (adam.beta1, adam.beta2, adam.adam_eps) == (0.9, 0.99, 1e-10)
    assert recipe.data.root is None and recipe.data.holdout == 0
    assert recipe.data.augment.crop_padding == 0 and not recipe.data.augment.flip


def test_values_at_the_very_edge_are_allowed() -> None:
    edge = ["eps.train=1", "eps.test=255/255", "p.start=1", "p.final=1", "seed=9223372036854775807"]
    edge += ["objective.lam.end=0.1", "optimizer.beta1=0", "data.augment.crop_padding=16", "p.end_epoch=10"]
    recipe = parse_recipe(LEAST, "least.yaml", edge).recipe
    assert recipe.seed == 2**63 - 1
    assert recipe.eps.train == recipe.eps.test == 1
    assert recipe.cautions() == []


def whole_numbers(schema: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The section and name of every field that is a whole number, and the greatest it may be."""
    for section, properties in schema["$defs"].items():
        for field, facts in properties["properties"].items():
            if facts.get("type") == "integer":
                yield f"{section}.{field}", facts["maximum"]


def test_what_a_recipe_counts_a_record_can_hold() -> None:
    greatest = dict(whole_numbers(json_schema()))
    assert greatest.pop("Recipe.seed") == 2**63 - 1  # a nanosecond clock's is 1.8e18
    assert len(greatest) >= 10 and max(greatest.values()) <= 2**53
    images = {"digits": 1437, "mnist": 60_000, "cifar10": 50_000}
    assert set(images) == set(DataSection.registry.kinds)
    assert greatest["Recipe.epochs"] * max(images.values()) <= 2**53  # steps, one image each


def test_a_p_that_stays_finite_to_the_end_is_allowed_with_a_caution() -> None:
    [caution] = parse_recipe(LEAST, "least.yaml", ["p.end_epoch=10.5"]).recipe.cautions()
    assert caution.startswith("p.end_epoch (10.5) lies beyond epochs (10)")


@pytest.mark.parametrize(
    ("differs", "caution", "agrees"),
    [
        (["p.final=99.9"], "p.final (99.9) is below 100, and at p.end_epoch p jumps", ["p.final=100"]),
        (["p.final=50"], "p.final (50) is below 100", ["p.final=50", "p.end_epoch=10"]),  # no step at inf
        (["model.depth=1"], "model.depth is 1: a single layer", ["model.depth=2"]),
        (["model.width=10"], "model.width (10) is not above the 10 classes", ["model.width=11"]),
        (["model.width=3"], "model.width (3) is not above", ["model.width=3", "model.identity=0"]),
        (["model.width=3", "model.depth=1"], "model.depth is 1", ["model.depth=3"]),  # width says nothing
    ],
)
def test_where_the_published_code_does_another_thing_there_is_a_caution(
    differs: list[str], caution: str, agrees: list[str]
) -> None:
    [said] = parse_recipe(LEAST, "least.yaml", differs).recipe.cautions()
    assert said.startswith(caution) and "the published code" in said and "; choose " in said
    assert parse_recipe(LEAST, "least.yaml", agrees).recipe.cautions() == []


def test_sections_made_in_python_are_checked_too() -> None:
    with pytest.raises(ValueError, match="end_epoch must be > p.begin_epoch"):
        P(begin_epoch=2, end_epoch=1)
    with pytest.raises(ValueError, match="end must be <= objective.lam.start"):
        Lam(start=0.1, end=0.2)
    with pytest.raises(ValueError, match="test must be > 0"):
        Eps(train=Fraction(1, 2), test=Fraction(0))


class TestFractions:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("8/255", Fraction(8, 255)),
            (" 8 / 255 ", Fraction(8, 255)),
            ("0.1", Fraction(1, 10)),
            ("0.03137", Fraction(3137, 100000)),
            ("1", Fraction(1)),
            ("1e-3", Fraction(1, 1000)),
            ("-0.5", Fraction(-1, 2)),
            ("0.30000000000000004", Fraction(30000000000000004, 10**17)),
        ],
    )
    def test_text_is_read_exactly(self, text: str, value: Fraction) -> None:
        assert read_fraction(text) == value

    @pytest.mark.parametrize("written", ["8/255", '"8/255"', "0.1", '"0.1"', "1", "1e-3", "1.25e-20"])
    def test_yaml_is_read_exactly(self, written: str) -> None:
        read = parse_recipe(LEAST, "least.yaml", [f"eps.test={written}"]).recipe.eps.test
        assert read == Fraction(written.strip('"'))

    @pytest.mark.parametrize(
        "text", ["", "abc", "1/0", "1/2/3", "nan", "inf", "0x1", "1/-2", "1.5/2", "1_000", "1e999999999", "٣"]
    )
    def test_other_text_is_refused_at_once(self, text: str) -> None:
        with pytest.raises(ValueError, match="must be a fraction such as 8/255 or a decimal such as 0.1"):
            read_fraction(text)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Fraction(1, 10), "0.1"),
            (Fraction(8, 255), "8/255"),
            (Fraction(1, 255), "1/255"),
            (Fraction(51, 255), "0.2"),
            (Fraction(1, 3), "85/255"),
            (Fraction(1, 7), "1/7"),
            (Fraction(1, 10000), "0.0001"),
            (Fraction(1234, 10000), "0.1234"),
            (Fraction(1, 100000), "1/100000"),
            (Fraction(1), "1"),
        ],
    )
    def test_they_are_written_as_people_write_radii(self, value: Fraction, text: str) -> None:
        assert format_fraction(value) == text

    @given(st.fractions(min_value=0, max_value=1, max_denominator=10**18))
    def test_what_is_written_is_read_back_equal(self, value: Fraction) -> None:
        assert read_fraction(format_fraction(value)) == value

    @given(st.floats(min_value=1e-9, max_value=1))
    def test_a_float_counts_as_the_decimal_that_it_is_written_as(self, value: float) -> None:
        assert read_fraction(repr(value)) == Fraction(repr(value))


class TestJsonSchema:
    def test_every_field_is_described(self) -> None:
        sections = json_schema()["$defs"]
        fields = {
            f"{section}.{field}": facts
            for section, schema in sections.items()
            for field, facts in schema["properties"].items()
        }
        assert len(fields) > 40
        undescribed = [name for name, facts in fields.items() if not facts.get("description", "").strip()]
        assert undescribed == []

    def test_it_states_the_rules_an_editor_can_check(self) -> None:
        schema = json_schema()
        sections = schema["$defs"]
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert all(section["additionalProperties"] is False for section in sections.values())
        assert set(sections["Recipe"]["required"]) == set(yaml.safe_load(LEAST))
        kinds = sections_of(sections["Recipe"]["properties"]["data"])
        assert [sections[kind]["properties"]["dataset"]["enum"] for kind in kinds] == [
            ["digits"], ["mnist"], ["cifar10"],
        ]  # fmt: skip
        assert all("dataset" in sections[kind]["required"] for kind in kinds)
        assert "kind" not in sections["MLP"]["required"] and "kind" not in sections["Mixture"]["required"]
        assert sections["Optimizer"]["properties"]["lr"]["exclusiveMinimum"] == 0
        assert sections["Optimizer"]["properties"]["adam_eps"]["default"] == 1e-10
        assert sections["Recipe"]["properties"]["epochs"]["minimum"] == 1
        number, text = sections["Eps"]["properties"]["test"]["anyOf"]
        assert (number["type"], text["type"]) == ("number", "string")

    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
    def test_it_knows_every_key_of_a_shipped_recipe(self, path: Path) -> None:
        def is_of(kind: str, value: dict[str, Any]) -> bool:
            named = json_schema()["$defs"][kind]["properties"].get("dataset", {}).get("enum")
            return named is None or value["dataset"] in named

        def check(section: str, values: dict[str, Any]) -> None:
            schema = json_schema()["$defs"][section]
            assert set(schema["required"]) <= set(values) <= set(schema["properties"])
            for key, value in values.items():
                kinds = sections_of(schema["properties"][key])
                fitting = [kind for kind in kinds if is_of(kind, value)]
                assert len(fitting) == bool(kinds)
                for kind in fitting:
                    check(kind, value)

        check("Recipe", yaml.safe_load(path.read_text()))

    @pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
    def test_a_validator_accepts_the_shipped_recipes(self, path: Path) -> None:
        values = {**yaml.safe_load(path.read_text())}
        values.get("optimizer", {}).pop("adam_eps", None)  # PyYAML takes 1e-10 for text
        jsonschema.validate(values, json_schema())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid_described_and_called_as_its_file(path: Path) -> None:
    recipe = load_recipe(path).recipe
    assert recipe.name == path.stem
    assert recipe.description
    assert recipe.cautions() == []


def test_the_cifar_recipe_is_the_papers() -> None:
    recipe = load_recipe(RECIPES[0].with_name("cifar.yaml")).recipe
    assert (recipe.model.width, recipe.model.depth, recipe.batch_size) == (5120, 6, 512)
    assert (recipe.eps.train, recipe.eps.test) == (Fraction(24, 255), Fraction(8, 255))
    assert (recipe.epochs, recipe.p.begin_epoch, recipe.p.end_epoch) == (1300, 100, 1250)
    assert recipe.optimizer.adam_eps == 1e-10
    assert recipe.data.augment.crop_padding == 3 and recipe.data.augment.flip
