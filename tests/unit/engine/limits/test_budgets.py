"""What answers say of a budget."""

import pytest

from impact.engine.limits.budgets import Budget
from impact.engine.limits.policies import Policy


@pytest.fixture
def budget() -> Budget:
    return Budget(Policy("tenant-read", 100, 10, "reads"), "key", workers=1)


class TestState:
    def test_a_full_bucket(self, budget: Budget) -> None:
        assert budget.state(1000.0) == '"tenant-read";r=100;t=0'

    def test_what_is_leased_is_left_to_be_spent(self, budget: Budget) -> None:
        budget.full_at, budget.leased = 1005.0, 20
        assert budget.state(1000.0) == '"tenant-read";r=70;t=6'

    def test_never_more_than_the_limit(self, budget: Budget) -> None:
        budget.full_at, budget.leased = 1000.5, 20
        assert budget.state(1000.0) == '"tenant-read";r=100;t=1'

    def test_nothing_is_left_until_somebody_can_have_a_token(self, budget: Budget) -> None:
        budget.empty_until, budget.leased = 1002.5, 0
        assert budget.state(1000.0) == '"tenant-read";r=0;t=3'
