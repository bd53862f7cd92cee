"""What every test can ask for."""

pytest_plugins = ["tests.services.plugin", "tests.crash.plugin"]
