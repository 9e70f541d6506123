"""Read `/metrics` and the other probes."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from realtime.observability import metrics
from tests.support.waiting import LIMIT, until_answer

OURS = {
    (collector._name, collector._type)
    for collector in vars(metrics).values()
    if hasattr(collector, "_name") and hasattr(collector, "_type")
}
"""The name, without `_total`, and the kind of each of our metrics."""


def get(url: str, token: str = "") -> tuple[int, str]:
    """Return the status and the text at an address."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def get_json(url: str) -> tuple[int, Any]:
    status, text = get(url)
    return status, json.loads(text)


class Scraped:
    """The samples at an address, as Prometheus would read them."""

    def __init__(self, url: str, token: str = "") -> None:
        status, text = get(url, token)
        assert status == 200, text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __repr__(self) -> str:
        return ", ".join(f"{one.name}{one.labels or ''} {one.value:g}" for one in self.samples if one.value)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of this name with these labels."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )


async def scraped(url: str, is_wanted: Callable[[Scraped], object], token: str = "") -> Scraped:
    """Scrape until ``wanted`` is true: gauges lag by half a second, the relay's by a third of its lease."""
    return await until_answer(lambda: asyncio.to_thread(Scraped, url, token), is_wanted, f"the metrics at {url}")
