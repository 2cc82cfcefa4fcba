"""The order and the checks of a worker's start."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from settings.environment import Environment
from settings.model import BrokerSettings, Settings
from workers.startup import StartFailed, import_actors, make_broker, start_telemetry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what was imported from it is forgotten, and so is the broker."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def broker(folder: Path) -> StubBroker:
    made = StubBroker()
    dramatiq.set_broker(made)
    return made


def actor(name: str) -> str:
    return f"import dramatiq\n\n@dramatiq.actor\ndef {name}(payload): pass\n"


def test_the_modules_are_imported_in_the_order_of_the_settings(folder: Path, broker: StubBroker) -> None:
    (folder / "second_actors.py").write_text("import sys\nassert 'first_actors' in sys.modules\n" + actor("two"))
    (folder / "first_actors.py").write_text(actor("one"))

    import_actors(["first_actors", "second_actors"], broker)

    assert broker.get_declared_actors() == {"one", "two"}


def test_the_module_that_replaced_the_broker_is_named(folder: Path, broker: StubBroker) -> None:
    (folder / "good_actors.py").write_text(actor("good"))
    (folder / "bad_actors.py").write_text(
        "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\ndramatiq.set_broker(StubBroker())\n"
    )

    with pytest.raises(StartFailed, match=r"'bad_actors' has replaced the broker; remove dramatiq\.set_broker"):
        import_actors(["good_actors", "bad_actors"], broker)


def test_an_actor_on_another_broker_is_found_below_the_named_module_too(folder: Path, broker: StubBroker) -> None:
    (folder / "top_actors.py").write_text("import below_actors\n" + actor("good"))
    (folder / "below_actors.py").write_text(
        "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\n\n"
        "@dramatiq.actor(broker=StubBroker())\ndef lost(payload): pass\n"
    )

    with pytest.raises(StartFailed, match="the actor 'lost' in 'below_actors' is declared on another broker"):
        import_actors(["top_actors"], broker)


def test_no_actor_at_all_is_a_warning(folder: Path, broker: StubBroker, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "empty_actors.py").write_text("")

    import_actors(["empty_actors"], broker)

    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(logging.WARNING, "no_actors")]


def test_middleware_that_does_not_import_names_the_key(folder: Path) -> None:
    (folder / "plumbing.py").write_text("raise OSError('no water')")

    with pytest.raises(
        StartFailed, match=r"broker\.middleware: the module 'plumbing' does not import: .*line 1: OSError: no water"
    ):
        make_broker(Settings(broker=BrokerSettings(middleware=("plumbing:pipes",))))


@pytest.mark.parametrize(("before", "level"), [(logging.DEBUG, logging.DEBUG), (logging.INFO, logging.WARNING)])
def test_dramatiq_s_verbose_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, before: int, level: int) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", before)

    start_telemetry(Settings(), Environment(log_level="WARNING"))

    assert root.level == level
