"""The demonstration's session: Kraken's, for whatever symbols the simulated exchange has."""

from __future__ import annotations

import os

from examples.kraken import KrakenSession


class SimulatedKraken(KrakenSession):
    """One channel of all simulated symbols; SIMULATOR_SYMBOLS names them, separated by commas."""

    def setup(self, channel: str) -> None:  # type: ignore[override]  # takes the demonstration's own session_args
        symbols = os.environ.get("SIMULATOR_SYMBOLS", "BTC/USD,ETH/USD").split(",")
        super().setup(symbols, [channel])
