"""What every suite may use."""

pytest_plugins = ["stack_fixture"]
