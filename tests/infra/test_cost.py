"""Tests that the README shows the cost of an idle stage, and that the cost table covers every deployed resource."""

from pathlib import Path

import pytest

from assistance.store.schema import INDEX_SHARDS
from tests import cost
from tests.idle_cost import (
    COSTS,
    FREE,
    MINUTES,
    PAGES,
    READ_UNITS,
    ROOT,
    SQS_REQUESTS,
    WRITE_UNITS,
    idle_run,
    page,
    rows,
)
from tests.infra.template import VARIANTS, Template


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_show_the_computed_cost_of_an_idle_stage(path: Path) -> None:
    assert path.read_text("utf-8") == page(path), "run: make docs"


def test_the_cost_table_states_a_price_or_no_cost_for_every_deployed_resource_type(template: Template) -> None:
    kinds = {resource["Type"] for resource in template.resources.values()}
    assert {kind for kind in kinds if not FREE.fullmatch(kind)} <= COSTS, "what does it cost at rest?"


def test_no_deployed_resource_type_is_billed_by_the_hour(template: Template) -> None:
    for source in template.all("AWS::Lambda::EventSourceMapping").values():
        assert "ProvisionedPollerConfig" not in source
    assert not template.all("AWS::Lambda::Version") or "ProvisionedConcurrencyConfig" not in str(template.document)
    for kind in ("AWS::DynamoDB::GlobalTable", "AWS::DynamoDB::Table"):
        assert all(table["BillingMode"] == "PAY_PER_REQUEST" for table in template.all(kind).values())
    for stage in template.all("AWS::ApiGateway::Stage").values():
        assert not stage.get("CacheClusterEnabled")


def test_the_cost_table_includes_every_aws_call_of_a_reconciler_run_without_requests() -> None:
    calls = idle_run("production").calls
    assert calls["Query"]
    assert set(calls) <= {*READ_UNITS, *WRITE_UNITS, *SQS_REQUESTS}


def test_no_idle_stage_costs_more_than_documented_and_an_idle_dev_stage_costs_almost_nothing() -> None:
    dollars = {variant: sum(row.full for row in rows(variant)) for variant in VARIANTS}
    # The local stack equals dev with takes and alarms. Production has takes only if the deployer enables them.
    assert dollars["production"] == max(value for variant, value in dollars.items() if variant != "local")
    assert dollars["dev"] < 3.00


def test_the_cost_page_states_the_difference_of_production_and_dev_as_the_saving_without_alarms() -> None:
    # Dev has no alarms, and the same settings otherwise.
    production, dev = (sum(row.full for row in rows(stage)) for stage in ("production", "dev"))
    assert cost.saved_without_alarms() == pytest.approx(production - dev)


def test_the_decision_on_the_outbox_index_states_the_monthly_cost_of_a_query_of_each_shard_every_minute() -> None:
    dollars = INDEX_SHARDS * MINUTES * READ_UNITS["Query"] * cost.prices()["read"].dollars
    decision = (ROOT / "docs/decisions/0005-sparse-sharded-index.md").read_text("utf-8")
    assert f"Queries of all shards every\nminute cost ${dollars:.2f} a month." in decision
