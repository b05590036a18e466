"""examples/own_policy: it is the policy of docs/policies.md, it conforms, and a balancer runs it."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from balancer.policies import registry
from balancer.policies.base import Factory
from balancer.policies.conformance import CHECKS
from tests.fakes.app_replica import app_replica
from tests.fakes.instance import get, running

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/own_policy"
NAME = "my_policies:BestOf"
REQUESTS = 40  # that one of two replicas gets all of them has a chance of one in 10^11


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example is in the path of the tests, and of the processes that they start."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER))
    sys.modules.pop("my_policies", None)
    yield
    sys.modules.pop("my_policies", None)


def test_the_docs_show_the_same_code() -> None:
    docs = (ROOT / "docs/policies.md").read_text(encoding="utf-8")
    (shown, *_) = re.findall(r"^```python\n(.*?)^```$", docs, re.MULTILINE | re.DOTALL)
    assert shown == (FOLDER / "my_policies.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_it_conforms(check: Callable[[Factory], None]) -> None:
    check(lambda context: registry.build(NAME, {}, context))


@pytest.mark.integration
async def test_a_balancer_chooses_by_it() -> None:
    async with app_replica("one") as one, app_replica("two") as two:
        upstreams = f"{one.address},{two.address}"
        async with running(UPSTREAMS=upstreams, POLICY=NAME, POLICY_OPTIONS='{"choices": 2}') as balancer:
            answers = Counter([(await get(balancer.port)).body for _ in range(REQUESTS)])
            assert answers.keys() == {b"one", b"two"}
            assert answers.total() == REQUESTS
            (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
            assert pool["policy"] == NAME
