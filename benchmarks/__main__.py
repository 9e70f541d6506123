"""`python -m benchmarks` measures every goal of docs/performance.md; with `--quick` only the fan-out.

It prints the table. `--write` also writes table and plots into docs/, and `--json FILE` writes the figures as JSON.
"""

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")

import django

django.setup()

from benchmarks import machine  # noqa: E402
from benchmarks.figures import Figure, Outcome  # noqa: E402
from benchmarks.scenarios import connections, fan_out, relaying, sending  # noqa: E402
from benchmarks.servers import Ours, versions  # noqa: E402
from benchmarks.setup import TUTORIAL, Make, peers  # noqa: E402
from config.env import BASE_DIR  # noqa: E402

PAGE = BASE_DIR / "docs" / "performance.md"
IMAGES = BASE_DIR / "docs" / "images"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
SECONDS, ROUNDS = 3.0, 3
PACKAGES = ("django", "channels", "channels-redis", "daphne", "twisted", "autobahn", "uvicorn", "redis", "grpcio")


def ours(name: str) -> Make:
    """Return what starts our gateway on one of the ASGI servers."""
    return lambda bench: Ours(bench, name)


def plan() -> dict[str, Callable[[], Awaitable[Outcome]]]:
    """Return the scenarios by name, in the order of the page."""
    on = {name: ours(name) for name in Ours.commands}
    others = peers()
    steady = on | {name: make for name, make in others.items() if name in ("Node ws", "nchan")}
    return {
        "fan-out": lambda: fan_out.fan_out(on | others, SECONDS, ROUNDS),
        "flatness": lambda: fan_out.flatness(SECONDS, ROUNDS),
        "steady": lambda: fan_out.steady(steady, 10, ROUNDS),
        "small-groups": lambda: fan_out.small_groups(SECONDS, ROUNDS),
        "memory": connections.idle_memory,
        "accepting": lambda: connections.accepting(ROUNDS),
        "sending": lambda: sending.sending(10, ROUNDS),
        "chain": lambda: sending.chain(10, ROUNDS),
        "relay": lambda: relaying.relaying(100_000, ROUNDS),
        "slow-readers": lambda: fan_out.slow_readers(20),
    }


async def quick() -> None:
    """Measure the fan-out against the tutorial's consumer; print the ratios on the last line."""
    servers: dict[str, Make] = {"ours": ours("ours"), TUTORIAL: peers()[TUTORIAL]}
    outcome = await fan_out.fan_out(servers, 2, 1, members=500)
    rates = {(figure.server, figure.what.rpartition(" ")[2]): figure.median for figure in outcome.figures}
    parts = [f"{window} {rates['ours', window] / rates[TUTORIAL, window]:.1f} x" for window in ("w1", "w10")]
    print(f"fan-out to 500 members, ours against the {TUTORIAL}: {', '.join(parts)}")


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | server | median | min to max | unit | goal | met | |", "|---|---|--:|--:|---|---|---|---|"]
    for one in figures:
        spread = f"{_number(min(one.values))} to {_number(max(one.values))}" if len(one.values) > 1 else ""
        met = {None: "", True: "yes", False: "**no**"}[one.met]
        cells = (one.what, one.server, _number(one.median), spread, one.unit, one.goal, met, one.note)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def about() -> str:
    """Return one line that names the machine and the versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    others = ", ".join(f"{name} {found}" for name, found in versions().items())
    return f"{cpu}, Linux {platform.release()}; {others}; {packages}."


def plot(name: str, outcome: Outcome, title: str, x: str, y: str, *, log_x: bool) -> None:
    """Draw an outcome's points as lines into docs/images."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for series in dict.fromkeys(point[0] for point in outcome.points):
        chosen = [(x, y) for at, x, y in outcome.points if at == series]
        axes.plot([x for x, _ in chosen], [y for _, y in chosen], marker="o", label=series)
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(0, None))
    if log_x:
        axes.set_xscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(IMAGES / f"performance-{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


async def run(names: list[str]) -> dict[str, Outcome]:
    """Run the named scenarios, or all of them."""
    outcomes: dict[str, Outcome] = {}
    for name, scenario in plan().items():
        if not names or name in names:
            print(f"{name} …", flush=True)
            outcomes[name] = await scenario()
            print(table(outcomes[name].figures), flush=True)
    return outcomes


def put(outcomes: dict[str, Outcome], *, write: bool, to: Path | None) -> None:
    """Write the figures into the page and into a JSON file, each if asked."""
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    if to is not None:
        rows = [{**vars(one), "median": one.median} for one in figures]
        to.write_text(json.dumps({"about": about(), "figures": rows}, indent=1) + "\n")
    if write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}{about()}\n\n{table(figures)}{END}{after}")
        plot("members", outcomes["flatness"], "Cost of a delivery, w10", "members", "us of CPU", log_x=True)
        plot("load", outcomes["steady"], "Latency over load, 1,000 members", "deliveries/s", "p99, ms", log_x=False)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenario", nargs="*", help="only these; default: all")
    parser.add_argument("--quick", action="store_true", help="fan-out against the Channels tutorial, under a minute")
    parser.add_argument("--write", action="store_true", help="put table and plots into docs/")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    if unknown := set(given.scenario) - set(plan()):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(plan())}")
    machine.prepare()
    if given.quick:
        asyncio.run(quick())
    else:
        put(asyncio.run(run(given.scenario)), write=given.write, to=given.json)


if __name__ == "__main__":
    main()
