"""What ``dramatiq workers`` says where it cannot start: a text with the remedy and exit code 1, never a traceback."""

from __future__ import annotations

import pytest

from tests.support.redis_server import Valkey
from tests.support.workers_process import ROOT, Project

FEEDS = '[workers]\nactors = ["shop.actors"]\n'


def refused(project: Project, valkey: Valkey | None = None, **environ: str) -> str:
    """Return what the command said; it must have ended with exit code 1 and without a traceback."""
    url = valkey.url if valkey is not None else "redis://127.0.0.1:1/0"
    process = project.run("workers", REDIS_URL=url, **environ)
    assert process.wait() == 1, process.log
    assert "Traceback" not in process.log
    return process.log


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("feeds.toml", FEEDS)
    project.write("shop/__init__.py", "")
    return project


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            """
            import os, dramatiq
            from dramatiq.brokers.redis import RedisBroker
            dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))

            @dramatiq.actor
            def handle(payload): pass
            """,
            ["the actor module 'shop.actors' has replaced the broker", "remove dramatiq.set_broker", "[broker] middleware"],
        ),
        (
            """
            import os, dramatiq
            from dramatiq.brokers.redis import RedisBroker

            @dramatiq.actor(broker=RedisBroker(url=os.environ["REDIS_URL"]))
            def handle(payload): pass
            """,
            ["the actor 'handle' in 'shop.actors' is declared on another broker", "declare it without broker="],
        ),
        (
            """
            import dramatiq
            import shop.deeper
            """,
            ["the module 'shop.actors' does not import", "shop/deeper.py, line 3: KeyError: 'nothing here'"],
        ),
        ("def broken(:", ["shop/actors.py, line 1: SyntaxError"]),
        ("raise OSError('GET https://example.com/?token=hunter2')", ["shop/actors.py, line 1: OSError", "token=***"]),
    ],
    ids=["broker replaced", "another broker", "broken below", "syntax", "secret in the text"],
)
def test_a_faulty_actor_module(shop: Project, valkey: Valkey, module: str, words: list[str]) -> None:
    shop.write("shop/actors.py", module)
    shop.write("shop/deeper.py", "values = {}\n\nvalues['nothing here']\n")

    log = refused(shop, valkey)

    for word in words:
        assert word in log
    assert "hunter2" not in log


def test_a_missing_actor_module(shop: Project) -> None:
    assert "workers.actors: there is no module 'shop.actors'" in refused(shop)


def test_actors_of_a_middleware_module_are_found_on_the_wrong_broker(shop: Project, valkey: Valkey) -> None:
    shop.write("feeds.toml", '[broker]\nmiddleware = ["shop.actors:middleware"]\n' + FEEDS)
    shop.write(
        "shop/actors.py",
        """
        import dramatiq

        @dramatiq.actor
        def handle(payload): pass

        def middleware(): return []
        """,
    )

    assert "in a module that only [workers] actors imports" in refused(shop, valkey)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("shop.actors:nothing", "broker.middleware: the module 'shop.actors' has no 'nothing'"),
        ("shop.actors:number", "broker.middleware: 'shop.actors:number' is a int: neither a Dramatiq middleware nor a callable"),
    ],
)
def test_middleware_that_is_none(shop: Project, reference: str, words: str) -> None:
    shop.write("feeds.toml", f'[broker]\nmiddleware = ["{reference}"]\n' + FEEDS)
    shop.write("shop/actors.py", "number = 7")

    assert words in refused(shop)


def test_settings_with_problems(shop: Project) -> None:
    shop.write(
        "feeds.toml", '[workers]\nactor = ["shop.actors"]\n\n[feeds.trades]\nurl = "http://example.com"\nactor = "handle"\n'
    )

    log = refused(shop, LOG_LEVEL="loud")

    for path in ("workers.actor: unknown key", "feeds.trades.url:", "LOG_LEVEL:"):
        assert path in log


def test_settings_that_are_missing(project: Project) -> None:
    assert "elsewhere.toml" in refused(project, FEEDS_FILE="elsewhere.toml")


def test_a_foreign_settings_module_is_no_obstacle(shop: Project, valkey: Valkey) -> None:
    shop.write("settings.py", "raise RuntimeError('the application settings were imported')")
    shop.write("shop/actors.py", "import dramatiq\n\n@dramatiq.actor\ndef handle(payload): pass\n")

    process = shop.run("workers", REDIS_URL=valkey.url).ready()

    assert process.terminate() == 0, process.log


def test_a_foreign_settings_module_that_came_first_is_named(shop: Project) -> None:
    shop.write("settings.py", "")
    shop.write("sitecustomize.py", "import settings")

    log = refused(shop, PYTHONPATH=f"{shop.folder}:{ROOT}")

    assert f"the module 'settings' is already imported from {shop.folder / 'settings.py'}" in log


def test_no_actors_at_all_is_a_warning(project: Project, valkey: Valkey) -> None:
    project.write("feeds.toml", "")

    process = project.run("workers", REDIS_URL=valkey.url).ready()

    assert process.terminate() == 0
    assert "WARNING  no_actors" in process.log


def test_the_log_is_json_where_the_environment_says_so(shop: Project, valkey: Valkey) -> None:
    shop.write("shop/actors.py", "import dramatiq\n\n@dramatiq.actor\ndef handle(payload): pass\n")

    process = shop.run("workers", REDIS_URL=valkey.url, LOG_FORMAT="json").ready()

    assert process.terminate() == 0
    assert '"message": "Worker process is ready for action."' in process.log


def test_outside_the_command_importing_workers_starts_nothing(project: Project) -> None:
    project.write(
        "web.py",
        """
        from workers import current_frame
        assert current_frame() is None
        import dramatiq.broker
        assert dramatiq.broker.global_broker is None
        """,
    )

    project.python("web.py")
