"""Variables of `aegis.yaml`: their forms, their levels, and what is refused."""

from __future__ import annotations

import pytest

from aegis.config.load import load
from aegis.config.options import delivery
from aegis.config.variables import levels
from aegis.core.errors import UserError

TEXT = """\
version: 1
variables:
  "*": {LEVEL: all}
  shop: {REGION: {value: a$b, raw: true}}
projects:
  shop/orders:
    kind: library
    variables:
      WORD: {value: open-sesame, masked: true, protected: true}
      HOST: [{value: one}, {value: two, environment_scope: "review/*", variable_type: file}]
  other/thing: {kind: library}
"""


def test_levels_go_from_everybody_to_the_project() -> None:
    declared = load(TEXT.encode())
    everybody, group, own = levels(declared, "shop/orders")
    assert [(one.key, one.value) for one in everybody] == [("LEVEL", "all")]
    assert [(one.key, one.value, one.raw) for one in group] == [("REGION", "a$b", True)]
    assert [(one.key, one.environment_scope, one.file) for one in own[1:]] == [
        ("HOST", "*", False),
        ("HOST", "review/*", True),
    ]
    assert (own[0].masked, own[0].protected) == (True, True)
    assert [[one.key for one in level] for level in levels(declared, "other/thing")] == [["LEVEL"], [], []]
    assert delivery(declared, "", "").project("shop/orders").variables == (everybody, group, own)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{A-B: x}", "no name of a variable"),
        ("{A: {value: short, masked: true}}", "at least 8 characters"),
        ("{A: {value: 'two words here', masked: true}}", "without spaces"),
        ("{A: [{value: x}, {value: y}]}", "one entry for each"),
        ("{A: []}", "one entry for each"),
        ("{A: {value: x, mask: true}}", "did you mean `masked`"),
        ("{A: 3}", "projects.shop/orders.variables.A"),
    ],
)
def test_what_could_not_be_kept_is_refused(written: str, message: str) -> None:
    text = f"version: 1\nprojects:\n  shop/orders: {{kind: library, variables: {written}}}\n"
    with pytest.raises(UserError) as caught:
        load(text.encode())
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_variables_of_a_group_that_has_no_project_are_a_mistake() -> None:
    with pytest.raises(UserError) as caught:
        load(TEXT.replace("  shop: ", "  shoop: ").encode())
    assert "shoop" in caught.value.message
