"""Draws a run: ``python -m benchmarks.plot NUMBERS.json PICTURE.png``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS = ("#9aa5b1", "#6b7c93", "#0a7d5a", "#35b58a", "#8fd6bd", "#d9a441", "#b5651d")


def plot(found: dict[str, Any], picture: Path) -> None:
    """Write one picture: rates and costs by size, cost by stage, speed by depth, cost by number of feeds; what there is."""
    panels = [(name, records) for name, records in records_of(found).items() if name in DRAWN]
    if not panels:
        return
    height = max(1, (len(panels) + 1) // 2)
    figure, axes = plt.subplots(height, 2, figsize=(13, 4.6 * height), layout="constrained", squeeze=False)
    for each in axes.flat[len(panels) :]:
        each.set_axis_off()
    for each, (name, records) in zip(axes.flat, panels, strict=False):
        DRAWN[name](each, records)
    figure.savefig(picture, dpi=90)
    plt.close(figure)


def records_of(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    kept: dict[str, list[dict[str, Any]]] = {}
    for part in found["parts"].values():
        kept |= part.get("numbers", {})
    if "into_the_queue" in kept:
        kept["costs"] = kept["into_the_queue"]
    return kept


def grouped(axes: Axes, records: list[dict[str, Any]], key: str) -> None:
    groups = list(dict.fromkeys((record["scheme"], record["size"]) for record in records))
    names = [name for name in dict.fromkeys(record["name"] for record in records) if not name.startswith("limit")]
    width = 0.8 / len(names)
    for at, name in enumerate(names):
        values = {(r["scheme"], r["size"]): r[key] for r in records if r["name"] == name}
        places = [n + (at - len(names) / 2 + 0.5) * width for n, group in enumerate(groups) if group in values]
        axes.bar(places, [values[group] for group in groups if group in values], width, label=name, color=COLOURS[at])
    axes.set_xticks(range(len(groups)), [f"{scheme}\n{size} B" for scheme, size in groups])
    axes.set_yscale("log")
    axes.legend(fontsize=7)


def rates(axes: Axes, records: list[dict[str, Any]]) -> None:
    grouped(axes, records, "rate")
    axes.set_title("From socket to queue: frames per second")


def costs(axes: Axes, records: list[dict[str, Any]]) -> None:
    grouped(axes, records, "cpu_us")
    axes.set_title("From socket to queue: µs of CPU per frame")


def depth(axes: Axes, records: list[dict[str, Any]]) -> None:
    depths = [record["depth"] / 1000 for record in records]
    axes.plot(depths, [record["cpu_us"] for record in records], "o-", color=COLOURS[2], label="µs of CPU per frame")
    axes.plot(depths, [record["valkey_us"] for record in records], "^:", color=COLOURS[6], label="the same in Valkey")
    if "bare_valkey_us" in records[0]:
        bare = [record["bare_valkey_us"] for record in records]
        axes.plot(depths, bare, "v:", color=COLOURS[0], label="in Valkey, HSET + RPUSH alone")
    axes.plot(depths, [record["rss"] / 10 for record in records], "s--", color=COLOURS[5], label="RSS, 10 MB")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("messages in the queue, thousands")
    axes.set_title("Depth of the queue, 180 B")
    axes.legend(fontsize=7)


def stages(axes: Axes, records: list[dict[str, Any]]) -> None:
    names = [name for name in records[0] if name != "size" and not name.startswith("(")]
    left = [0.0] * len(records)
    for at, name in enumerate(names):
        sums = [sum(record[each] for each in names) for record in records]
        shares = [record[name] / total * 100 for record, total in zip(records, sums, strict=True)]
        axes.barh([f"{record['size']} B" for record in records], shares, left=left, label=name, color=COLOURS[at])
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_title("Where each microsecond goes, %")
    axes.legend(fontsize=7, loc="lower left")


def feeds(axes: Axes, records: list[dict[str, Any]]) -> None:
    numbers = [record["feeds"] for record in records]
    axes.plot(numbers, [record["rss"] for record in records], "o-", color=COLOURS[2], label="RSS, MB")
    axes.plot(numbers, [record["cpu"] * 100 for record in records], "s--", color=COLOURS[5], label="CPU, 1/100 % of a core")
    axes.set_xlabel("quiet wss feeds in one process")
    axes.set_title("Quiet feeds")
    axes.legend(fontsize=7)


DRAWN = {"into_the_queue": rates, "costs": costs, "stages": stages, "depth": depth, "feeds": feeds}


if __name__ == "__main__":
    plot(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
