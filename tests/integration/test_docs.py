"""The documentation holds: links lead somewhere, settings load, code runs, commands exist, generated parts are current."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from dramatiq.brokers.stub import StubBroker

from ingest.broker.gaps import GapRecord
from ingest.errors import SessionFailed
from ingest.service.cli import app
from ingest.testing import SessionRun, run_session
from settings import load
from tests.support.gaps import make_gap
from tests.support.markdown import PAGES, ROOT, Snippet, anchors, links, snippets, snippets_of, write_files

_REFERENCE = re.compile(r'"(myapp[\w.]*):(\w+)"')


def session_of(page: str, file: str, name: str) -> Any:
    """Return the class of that name from a file of which a page gives the content."""
    (snippet,) = [snippet for snippet in snippets_of(ROOT / page) if snippet.file == file]
    namespace: dict[str, Any] = {}
    exec(compile(snippet.text, str(snippet), "exec"), namespace)
    return namespace[name]


def play(page: str, file: str, name: str, frames: list[str], **session_args: Any) -> SessionRun:
    return run_session(session_of(page, file, name), frames, session_args=session_args)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = link.partition("#")
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(linked), f"{page}: {link}"


def test_every_page_can_be_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - linked == {index}


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_settings_load(snippet: Snippet, tmp_path: Path) -> None:
    path = tmp_path / "feeds.toml"
    path.write_text(snippet.text, encoding="utf-8")
    names = re.findall(r"\$\{(\w+)\}", snippet.text)
    # As workers load it: the folders of spools are the reader's.
    assert load(path, dict.fromkeys(names, "of the environment"), spools=False).feeds


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_what_settings_name_is_on_the_page(snippet: Snippet) -> None:
    """Where a page shows the module, it defines what the settings name; modules that it does not show are the reader's."""
    files = {other.file: other.text for other in snippets_of(snippet.page) if other.file}
    for module, name in _REFERENCE.findall(snippet.text):
        text = files.get(f"{module.replace('.', '/')}.py")
        if text is not None:
            assert name in {node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_code_runs(snippet: Snippet, tmp_path: Path) -> None:
    """Every snippet is a whole module: it imports what it uses, beside the files of its page."""
    write_files(snippet.page, tmp_path)
    module = tmp_path / "snippet.py"
    module.write_text(snippet.text, encoding="utf-8")
    done = run_python("snippet.py", cwd=tmp_path)
    assert done.returncode == 0, f"{snippet}\n{done.stdout}{done.stderr}"


def test_the_tests_in_the_testing_page_pass(tmp_path: Path) -> None:
    written = write_files(ROOT / "docs" / "testing.md", tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, written), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.parametrize("snippet", snippets("console"), ids=str)
def test_commands_exist(snippet: Snippet) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for target in re.findall(r"^\$ make ([\w-]+)", snippet.text, re.MULTILINE):
        assert target in targets
    for command in re.findall(r"-m ingest ([\w-]+)", snippet.text):
        assert command in commands


def test_the_procfile_is_shown_as_it_is() -> None:
    procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
    assert procfile in [snippet.text for snippet in snippets("text")]


def test_generated_parts_are_current() -> None:
    done = run_python("docs/generate.py", "--check", cwd=ROOT)
    assert done.returncode == 0, f"run: python docs/generate.py\n{done.stdout}{done.stderr}"


def test_every_setting_is_described() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")] == []


class TestFrameHandler:
    PAGE = ("docs/guides/frame-handler.md", "myapp/sessions.py", "Trades")
    SUBSCRIBED = '{"event":"subscribed","channel":"trades","chanId":17,"symbol":"tBTCUSD"}'

    def test_emits_under_the_symbol_and_swallows_heartbeats(self) -> None:
        run = play(*self.PAGE, [self.SUBSCRIBED, '[17,"hb"]', '[17,"te",[1,2]]'], symbols=["tBTCUSD"])
        assert run.ready
        assert run.payloads == ({"symbol": "tBTCUSD", "data": ["te", [1, 2]]},)

    def test_waits_for_every_subscription(self) -> None:
        assert not play(*self.PAGE, [self.SUBSCRIBED], symbols=["tBTCUSD", "tETHUSD"]).ready

    @pytest.mark.parametrize(
        ("frame", "ended"),
        [
            ('[18,"te",[1,2]]', SessionFailed("data for channel 18, which was never subscribed")),
            ('{"event":"error","msg":"limit"}', SessionFailed("subscription refused: limit")),
            ('{"event":"info","code":20051}', SessionFailed("the venue restarts", after=0)),
        ],
    )
    def test_ends_the_connection(self, frame: str, ended: SessionFailed) -> None:
        assert play(*self.PAGE, [frame], symbols=["tBTCUSD"]).ended == ended


class TestOnUpgrade:
    PAGE = ("docs/guides/on-upgrade-bootstrap.md", "myapp/sessions.py", "Kraken")

    def test_is_ready_when_all_is_confirmed(self) -> None:
        answer = '{"method":"subscribe","result":{"symbol":"BTC/USD"},"success":true}'
        run = play(*self.PAGE, [answer, '{"channel":"trade"}', '{"channel":"heartbeat"}'], channel="trade", symbols=["BTC/USD"])
        assert run.ready
        assert run.payloads == ('{"channel":"trade"}',)
        assert len(run.sent) == 1

    def test_a_refusal_ends_the_connection(self) -> None:
        refusal = '{"method":"subscribe","success":false,"error":"rate"}'
        assert play(*self.PAGE, [refusal], channel="trade", symbols=["X"]).ended == SessionFailed("refused: rate")


class TestGaps:
    def gap(self, position: int | None) -> dict[str, Any]:
        return GapRecord.of(make_gap(7, position=position)).content()

    def test_the_session_says_how_far_it_has_come(self) -> None:
        session = session_of("docs/gaps.md", "myapp/sessions.py", "Trades")()
        assert session.position() is None
        session.on_frame('{"id": 7}')
        assert session.position() == 7

    @pytest.mark.parametrize(
        ("position", "query"), [(7, "after_id=7"), (None, "from=1790000002000&to=1790000012500")], ids=["position", "time"]
    )
    def test_the_actor_stores_what_it_fetches(self, position: int | None, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dramatiq.broker.global_broker", StubBroker())
        fill_gap = session_of("docs/gaps.md", "myapp/actors.py", "fill_gap")
        asked: list[str] = []

        def urlopen(url: str, timeout: float) -> io.BytesIO:
            asked.append(url)
            return io.BytesIO(b'[{"id": 8}, {"id": 9}]')

        fill_gap.fn.__globals__["urlopen"] = urlopen
        fill_gap.fn(self.gap(position))
        assert asked == [f"https://api.example.com/trades?{query}"]
        assert fill_gap.fn.__globals__["stored"] == {8: {"id": 8}, 9: {"id": 9}}


class TestAuthRefresh:
    PAGE = ("docs/guides/auth-refresh-and-handshake-failures.md", "myapp/slack.py", "SocketMode")

    def test_acknowledges_what_it_emits(self) -> None:
        run = play(*self.PAGE, ['{"type":"hello"}', '{"type":"events_api","envelope_id":"a"}'])
        assert run.ready
        assert run.payloads == ({"type": "events_api", "envelope_id": "a"},)
        assert run.acked == ('{"envelope_id": "a"}',)

    @pytest.mark.parametrize(
        ("reason", "ended"),
        [("warning", SessionFailed("warning", after=0)), ("link_disabled", SessionFailed("link_disabled", fatal=True))],
    )
    def test_comes_back_or_stops(self, reason: str, ended: SessionFailed) -> None:
        assert play(*self.PAGE, [f'{{"type":"disconnect","reason":"{reason}"}}']).ended == ended


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": f"{cwd}:{ROOT}", "PATH": str(Path(sys.executable).parent)}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=cwd, env=path, capture_output=True, text=True, timeout=60, check=False
    )
