"""What `--set` changes in a recipe, and how a wrong change is told."""

import shlex

import pytest
from example import TEXT, error_of, parse

from linftui.recipe.data import Augment
from linftui.recipe.load import (
    parse_recipe,
)
from linftui.recipe.schema import Optimizer


class TestOverrides:
    def test_they_reach_into_sections_and_the_last_one_wins(self) -> None:
        recipe = parse(TEXT, "optimizer.lr=0.1", "optimizer.lr=0.2", "objective.lam.end=0.01", "seed=7")
        assert (recipe.optimizer.lr, recipe.objective.lam.end, recipe.seed) == (0.2, 0.01, 7)
        assert recipe.optimizer.adam_eps == 1e-10  # its neighbours stay

    def test_they_make_sections_that_the_file_lacks(self) -> None:
        assert parse(TEXT, "data.augment.crop_padding=3").data.augment == Augment(crop_padding=3)
        assert parse(TEXT + "log:\n", "log.every_steps=3").log.every_steps == 3

    def test_they_replace_whole_sections(self) -> None:
        recipe = parse(TEXT, "optimizer={lr: 0.5}")
        assert recipe.optimizer == Optimizer(lr=0.5)

    def test_they_are_kept_with_the_text(self) -> None:
        loaded = parse_recipe(TEXT, "x.yaml", ["seed=1", "epochs=20"])
        assert (loaded.source, loaded.text, loaded.overrides) == ("x.yaml", TEXT, ("seed=1", "epochs=20"))

    def test_a_blank_around_a_name_does_not_matter(self) -> None:
        assert parse(TEXT, "optimizer . lr = 0.5").optimizer.lr == 0.5

    @pytest.mark.parametrize("override", ["optimizer.lr", "=3", "optimizer..lr=3", ".lr=3", "lr.=3", ""])
    def test_one_without_path_or_value_is_refused(self, override: str) -> None:
        message = error_of(TEXT, override)
        assert message == f"--set {override}: expected path=value; for example --set optimizer.lr=0.02"

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("optimizer.lr=-1", "--set optimizer.lr=-1: optimizer.lr must be > 0, got -1"),
            ("optimizer={lr: -1}", "--set optimizer={lr: -1}: optimizer.lr must be > 0, got -1"),
            ("optimizer.rl=1", "--set optimizer.rl=1: unknown key optimizer.rl; did you mean optimizer.lr?"),
            ("modle.width=1", "--set modle.width=1: unknown key modle; did you mean model?"),
            ("objective.lam={end: 1}", "--set objective.lam={end: 1}: objective.lam.start is missing"),
            ("epochs.x=1", "--set epochs.x=1: epochs is a value, not a section"),
            ("data.dataset.x=1", "--set data.dataset.x=1: data.dataset is a value, not a section"),
            # what the file does not mention
            ("seed.x=1", "--set seed.x=1: seed is a value, not a section"),
            ("data.root.x.y=1", "--set data.root.x.y=1: data.root is a value, not a section"),
            ("p.final.x=1", "--set p.final.x=1: p.final is a value, not a section"),
            ("p.x.y=1", "--set p.x.y=1: unknown key p.x; known here: start, final, begin_epoch, end_epoch"),
            ("log={a: 1, a: 2}", "--set log={a: 1, a: 2}:1:8: a is given twice"),
        ],
    )
    def test_a_wrong_one_is_named_in_the_error(self, override: str, message: str) -> None:
        assert error_of(TEXT, override) == message

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("name=007", """name must be text, got 7; quote it: --set 'name="007"'"""),
            ("name=1e5", """name must be text, got 100000.0; quote it: --set 'name="1e5"'"""),
            ("name=true", """name must be text, got true; quote it: --set 'name="true"'"""),
            ("name=null", """name must be text, got nothing; quote it: --set 'name="null"'"""),
            ("name=", "name must be text, got nothing"),
            (
                "data={dataset: digits, root: 12}",
                """data.root must be text or null, got 12; quote it: --set 'data.root="12"'""",
            ),
            ("data.dataset=5", "data.dataset must be text, got 5"),  # no data set is called so
            ("epochs=true", "epochs must be a whole number, got true"),
        ],
    )
    def test_where_yaml_makes_no_text_of_a_word_the_hint_is_to_quote_it(
        self, override: str, message: str
    ) -> None:
        assert error_of(TEXT, override) == f"--set {override}: {message}"
        if "--set '" in message:
            mended = shlex.split(message.partition("--set ")[2])
            assert parse(TEXT, *mended)

    def test_in_a_file_likewise(self) -> None:
        message = error_of(TEXT.replace("name: example", "name: 2024"))
        assert message == 'x.yaml:2:7: name must be text, got 2024; quote it: "2024"'
        assert parse(TEXT.replace("name: example", 'name: "2024"')).name == "2024"
        message = error_of(TEXT.replace("name: example", "name: 1.50"), "name=x", "name=1.0")
        assert message.endswith("""quote it: --set 'name="1.0"'""")

    def test_one_that_is_no_yaml_is_refused(self) -> None:
        assert error_of(TEXT, "optimizer={").startswith("--set optimizer={:1:2: not valid YAML: ")

    def test_an_error_elsewhere_still_points_into_the_file(self) -> None:
        text = TEXT.replace("lr: 0.03", "lr: -1")
        assert error_of(text, "optimizer.beta1=0.5").startswith("x.yaml:12:8: ")
        assert parse(text, "optimizer.lr=1").optimizer.lr == 1
