"""The command line as a whole: what it is called, and what it says to what it does not know."""

from __future__ import annotations

import pytest

from trying import tocsin


@pytest.mark.parametrize("name", ["silences", "recipient", "token", "dead-letter"])
def test_commands_answer_to_the_names_people_type(name: str) -> None:
    done = tocsin(name, "--help")
    assert done.exit_code == 0
    assert "list" in done.stdout


def test_a_command_that_is_not_there_is_answered_with_the_nearest() -> None:
    done = tocsin("recipeints", "list")
    assert done.exit_code == 2
    assert "there is no command 'recipeints'; did you mean 'recipients'?" in done.output
    assert "No such option: --frobnicate" in tocsin("--frobnicate").output
