"""For tests of sessions and of whatever connects: a session without a socket, and a server that does what a script says.

The rule: nothing here waits without a deadline. The server needs the extra ``embedded`` (package ``websockets``)::

    def test_subscribes():
        run = run_session(Trades, ['{"type":"subscribed"}', '{"price":1}'], session_args={"symbols": ["BTC/USD"]})
        assert run.ready and run.payloads == ({"price": 1},)

    def test_comes_back_after_a_cut():
        def first(client):
            client.expect({"op": "subscribe"})
            client.send({"price": 1})
            client.cut()

        def second(client):
            client.expect({"op": "subscribe"})

        with ScriptedServer(first, second) as server:
            ...                                  # run what connects to server.url
            server.wait_for_connections(2)

`RecordedFeed` is a server that plays a record of ``python -m ingest record``, `run_record` runs a session over one, and
`ingest.testing.pytest_plugin` has the former as a fixture.
"""

from ingest.testing.recorded import Record, RecordedFeed, RecordRun, run_record
from ingest.testing.recording import ReceivedFrame, Recording
from ingest.testing.script import ScriptedConnection
from ingest.testing.server import Script, ScriptedServer
from ingest.testing.session import SessionRun, run_session

__all__ = [
    "ScriptedServer",
    "ScriptedConnection",
    "Script",
    "Recording",
    "ReceivedFrame",
    "run_session",
    "SessionRun",
    "RecordedFeed",
    "Record",
    "run_record",
    "RecordRun",
]
