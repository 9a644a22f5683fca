"""Tests the API Gateway resources of the HTTP API."""

import json
from http import HTTPStatus

import pytest

from api import problems
from infra.stages import InvalidConfig, load
from tests.build_cache import cached
from tests.infra.template import CONTEXTS, Properties, Template, built, changed, synthesized, target

OURS = {
    problems.TYPE_PREFIX + problem.slug: problem
    for problem in (
        problems.not_json(),
        problems.not_utf_8(),
        problems.not_found("resource"),
        problems.content_too_large(1),
        problems.unsupported_media_type(),
        problems.invalid(),
        problems.idempotency_key_reused(),
        problems.unavailable(),
        problems.internal_error(),
    )
}
REFERENCE = {"openapi.json", "docs"}
GATEWAYS_OWN = {problems.TYPE_PREFIX + slug for slug in ("forbidden", "too-many-requests", "bad-request")}


SIGNED = {"interactions", "{token}"}
"""The last path parts of the routes for Slack's calls and for take links. Both are signed, and need no API key."""


def methods_of(template: Template) -> list[Properties]:
    return list(template.all("AWS::ApiGateway::Method").values())


def open_to_all(template: Template) -> set[str]:
    resources = template.all("AWS::ApiGateway::Resource")
    methods = template.all("AWS::ApiGateway::Method").values()
    return {resources[target(it["ResourceId"])]["PathPart"] for it in methods if it["ApiKeyRequired"] is not True}


def test_every_api_method_needs_an_api_key_except_the_api_reference_and_routes_with_signed_calls(
    template: Template,
) -> None:
    """A usage plan also limits the rate of calls with an API key."""
    assert open_to_all(template) <= REFERENCE | SIGNED
    assert open_to_all(template) & SIGNED == (SIGNED if template is synthesized("local") else set())
    (stage,) = template.all("AWS::ApiGateway::Stage")
    (plan,) = template.all("AWS::ApiGateway::UsagePlan")
    (key,) = template.all("AWS::ApiGateway::ApiKey")
    usage = template.only("AWS::ApiGateway::UsagePlan")
    assert [target(used["Stage"]) for used in usage["ApiStages"]] == [stage]
    assert usage["Throttle"]["RateLimit"] >= 1
    assert usage["Throttle"]["BurstLimit"] >= 1
    link = template.only("AWS::ApiGateway::UsagePlanKey")
    assert (target(link["KeyId"]), target(link["UsagePlanId"])) == (key, plan)


def test_the_api_function_receives_request_bodies_as_raw_bytes(template: Template) -> None:
    assert template.only("AWS::ApiGateway::RestApi")["BinaryMediaTypes"] == ["application/json"]


def test_production_serves_the_api_reference_only_if_the_deployer_enables_it(
    dev: Template, production: Template
) -> None:
    assert open_to_all(dev) == REFERENCE == open_to_all(synthesized("everything")) - SIGNED
    assert not open_to_all(production)


def test_the_throttle_of_the_api_reference_is_at_most_a_tenth_of_the_throttle_for_bots(dev: Template) -> None:
    limits = dev.only("AWS::ApiGateway::Stage")["MethodSettings"]
    of_all, *others = sorted(limits, key=lambda it: str(it["ResourcePath"]))
    assert of_all["ResourcePath"] == "/*"
    assert {it["ResourcePath"].removeprefix("/~1") for it in others} == REFERENCE
    assert all(10 * it["ThrottlingRateLimit"] <= of_all["ThrottlingRateLimit"] for it in others)


@pytest.mark.parametrize(
    ("channels", "paths"),
    [
        (["slack"], {"slack~1interactions"}),
        (["email"], {"take~1{token}"}),
        (["teams"], {"take~1{token}"}),
        (["slack", "email"], {"slack~1interactions", "take~1{token}"}),
    ],
)
def test_routes_without_an_api_key_have_a_throttle_of_at_most_a_tenth_of_the_throttle_for_bots(
    channels: list[str], paths: set[str]
) -> None:
    route = {"channels": channels, "fallback": None}
    context = {"take": "true", "api_reference": "false", "routes": json.dumps({"sales": route})}
    template = Template("", cached(f"takes by {' '.join(channels)}", lambda: changed(context).document))
    of_all, *others = sorted(
        template.only("AWS::ApiGateway::Stage")["MethodSettings"], key=lambda it: str(it["ResourcePath"])
    )
    assert of_all["ResourcePath"] == "/*"
    assert {it["ResourcePath"].removeprefix("/~1") for it in others} == paths
    assert all(2 * it["ThrottlingRateLimit"] <= of_all["ThrottlingRateLimit"] for it in others)


def test_error_responses_of_api_gateway_are_problem_documents_like_those_of_the_api_function(
    template: Template,
) -> None:
    responses = template.all("AWS::ApiGateway::GatewayResponse").values()
    for response in responses:
        assert response["ResponseParameters"]["gatewayresponse.header.Content-Type"] == f"'{problems.CONTENT_TYPE}'"
        (text,) = response["ResponseTemplates"].values()
        problem = json.loads(text)
        assert str(problem.get("status", "")) == response.get("StatusCode", "")
        if problem["type"] in OURS:
            ours = OURS[problem["type"]]
            assert problem["title"] == (ours.title or ours.status.phrase)
            assert problem.get("status", ours.status) == ours.status
        else:
            assert problem["type"] in GATEWAYS_OWN
        if problem.get("status") == HTTPStatus.TOO_MANY_REQUESTS or problem["type"].endswith("unavailable"):
            assert "gatewayresponse.header.Retry-After" in response["ResponseParameters"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= {response["ResponseType"] for response in responses}


def test_api_gateway_does_not_turn_5xx_statuses_into_4xx_so_that_the_5xx_alarm_counts_them(template: Template) -> None:
    # See "4XXError" in https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
    # The responses whose default status is 5xx:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
    errors = {"API_CONFIGURATION_ERROR", "AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE", "DEFAULT_5XX",
              "INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT"}  # fmt: skip
    responses = template.all("AWS::ApiGateway::GatewayResponse").values()
    kept = {response["ResponseType"] for response in responses if "StatusCode" not in response}
    assert errors & {response["ResponseType"] for response in responses} <= kept
    watched = [alarm["MetricName"] for alarm in template.all("AWS::CloudWatch::Alarm").values()]
    assert "4XXError" not in watched


def test_bots_call_the_custom_domain_which_stays_the_same_if_the_api_is_replaced() -> None:
    template = synthesized("everything")
    outputs = template.document["Outputs"]
    url = "https://api.company.io/assistance"
    assert outputs["ApiUrl"]["Value"] == url
    assert outputs["SlackInteractionsUrl"]["Value"].startswith(f"{url}/")
    _, page = template.function("take_page")
    assert page["Environment"]["Variables"]["TAKE_PAGE"] == f"{url}/take/"
    (name,) = template.all("AWS::ApiGateway::DomainName")
    assert template.only("AWS::ApiGateway::DomainName")["EndpointConfiguration"]["Types"] == ["REGIONAL"]
    mapping = template.only("AWS::ApiGateway::BasePathMapping")
    (api,) = template.all("AWS::ApiGateway::RestApi")
    assert (target(mapping["DomainName"]), target(mapping["RestApiId"]), mapping["BasePath"]) == (
        name, api, "assistance",
    )  # fmt: skip
    # If the mapping were replaced together with the API, it would be refused while the old mapping exists.
    assert not [logical_id for logical_id in template.all("AWS::ApiGateway::BasePathMapping") if "Rest" in logical_id]
    assert {target(outputs[it]["Value"]) for it in ("DomainTarget", "DomainHostedZoneId")} == {name}


def test_a_certificate_of_another_region_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(InvalidConfig, match="a certificate in eu-west-1"), built(CONTEXTS["everything"]):
        pass


def test_the_error_response_for_an_exceeded_daily_quota_has_a_retry_after_of_at_least_an_hour(
    template: Template,
) -> None:
    seconds = {
        response["ResponseType"]: int(response["ResponseParameters"][header].strip("'"))
        for response in template.all("AWS::ApiGateway::GatewayResponse").values()
        if (header := "gatewayresponse.header.Retry-After") in response["ResponseParameters"]
    }
    assert seconds["THROTTLED"] < 60
    assert seconds["QUOTA_EXCEEDED"] >= 3_600


def test_the_stack_changes_no_account_wide_setting_of_api_gateway(template: Template) -> None:
    assert not template.all("AWS::ApiGateway::Account")


def test_snapstart_is_on_only_if_the_deployer_enables_it(template: Template) -> None:
    assert not any("SnapStart" in function for function in template.all("AWS::Lambda::Function").values())
    assert not template.all("AWS::Lambda::Version")


def test_api_gateway_calls_the_published_function_version_if_snapstart_is_on() -> None:
    template = synthesized("everything")
    name, function = template.function("api")
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert [f for f in template.all("AWS::Lambda::Function").values() if "SnapStart" in f] == [function]
    (alias,) = template.all("AWS::Lambda::Alias")
    properties = template.only("AWS::Lambda::Alias")
    (version,) = template.all("AWS::Lambda::Version")
    assert (target(properties["FunctionName"]), target(properties["FunctionVersion"])) == (name, version)
    others = {template.function(folder)[0] for folder in ("slack_interactions", "take_page")}
    called = [set(map(str, it["Integration"]["Uri"]["Fn::Join"][1])) for it in methods_of(template)]
    assert [uri for uri in called if str({"Ref": alias}) in uri]
    assert all(any(other in str(uri) for other in {alias, *others}) for uri in called)
    callers = [
        permission
        for permission in template.all("AWS::Lambda::Permission").values()
        if "apigateway" in permission["Principal"] and target(permission["FunctionName"]) not in others
    ]
    assert callers
    assert all(p["FunctionName"] == {"Ref": alias} for p in callers), "nobody may call what has no snapshot"


def test_snapstart_is_refused_with_a_python_version_for_which_lambda_has_no_snapstart() -> None:
    with pytest.raises(InvalidConfig, match="snap_start needs python_version"):
        load({"snap_start": "true", "python_version": "3.11"})
