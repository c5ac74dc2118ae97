"""What every suite may use."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["stack_fixture"]

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
