"""What `isogloss bench scale` simulates and checks; its options are these fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from typer import Option

from isogloss.deploy.bench.options import REPEATED, SIZES
from isogloss.deploy.bench.settings import Dtype, HttpSettings, Seed, Settings, sizes
from isogloss.prompts.cli.settings import Read
from isogloss.prompts.errors import InvalidInput

LOADS = (10, 100, 1_000, 10_000, 100_000)
CHECKED_SHARES = (0.3, 0.6, 0.8)
"""Of what a closed loop of many connections reaches, at which the simulation is checked."""


@dataclass(frozen=True, kw_only=True)
class ScaleSettings(Settings):
    """The models, the traffic, and what it must not take longer than."""

    models: Annotated[
        tuple[str, ...] | None,
        Option(
            "--model",
            help="Pocket model, full-size model (random weights) or folder, whose costs are "
            "measured here; repeatable. (default: pocket-bloom, without --costs)",
        ),
        REPEATED,
    ] = None
    costs: Annotated[
        tuple[Path, ...] | None,
        Option(help="Cost table that a replica kept, such as one of a GPU; repeatable."),
        Read(list[Path], lambda paths, option: tuple(paths)),
    ] = None
    loads: Annotated[tuple[int, ...], sizes("Texts a second"), SIZES] = LOADS
    tokens: Annotated[
        tuple[int, ...] | None,
        sizes("Tokens of a text without its prompt, each as likely (default: SIB-200's)"),
        SIZES,
    ] = None
    texts: Annotated[int, Option(min=1, max=256, help="Of each request.")] = 1
    within_ms: Annotated[float, Option(min=1, help="Enough replicas keep p99 below.")] = 250.0
    dollars_per_hour: Annotated[
        float | None, Option(min=0, help="What you pay for one replica. (default: no dollars)")
    ] = None
    request_ms: Annotated[
        float | None,
        Option(min=0, help="Event loop's time for a request. (default: what --check measures)"),
    ] = None
    wake_ms: Annotated[
        float | None,
        Option(min=0, help="Event loop's time to wake up. (default: what --check measures)"),
    ] = None
    simulated: Annotated[int, Option(min=1000, help="Requests of each simulated run.")] = 20_000
    check: Annotated[
        bool, Option("--check", help="Compare with a real server of the first model.")
    ] = False
    seconds: Annotated[float, Option(min=1, help="Real load at each of three rates.")] = 30.0
    dtype: Dtype = "auto"
    seed: Seed = 0

    def settled(self) -> Self:
        """The same on this machine, as of every benchmark.

        Raises:
            InvalidInput: what a request costs besides its batch is neither given nor measured.
        """
        if self.check == (self.request_ms is not None):
            raise InvalidInput(
                f"request_ms: it is {self.request_ms} with check {self.check}; give --request-ms "
                "as a check told it (loop_ms), or --check to measure it here, not both"
            )
        if self.check and self.wake_ms is not None:
            raise InvalidInput("wake_ms: --check measures it here; leave out one of them")
        return super().settled()

    def shown(self) -> dict[str, Any]:
        """As JSON; paths' names, not where they are."""
        shown = {**super().shown(), "models": list(self.measured)}
        shown["costs"] = [path.name for path in self.costs or ()]
        return shown if self.tokens else {**shown, "tokens": "SIB-200, English test split"}

    @property
    def measured(self) -> tuple[str, ...]:
        """Models whose costs are measured here; the first is the one that is checked."""
        return self.models or (() if self.costs and not self.check else ("pocket-bloom",))

    def http(self, **changed: Any) -> HttpSettings:
        """As the workloads of `bench http` are made from."""
        given = {"device": self.device, "threads": self.threads, "seed": self.seed}
        return HttpSettings(**{**given, "dtype": self.dtype, **changed})
