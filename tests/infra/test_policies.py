"""Tests least privilege in both directions: every call is allowed, and every permission is used."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from unittest.mock import patch

import pytest

from assistance.engine.links import Link, token
from assistance.routing import DESTINATIONS, ROUTES, Channel, Topic, named
from tests.faults.paths import DESCRIPTION, PATHS, run
from tests.faults.system import QUEUE_RETENTION
from tests.faults.world import World, world
from tests.infra.deployed import ACCOUNT, REGION, Deployed, Request
from tests.infra.template import EXTRAS, VARIANTS, Template, as_list, synthesized, target
from tests.integration.cloud import forget, http_event
from tests.recorded_calls import Call, record
from tests.records import record_of

# The calls that AWS makes with a function's role, by the documentation page that says so.
_LOGS: Final = "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html"
_QUEUE: Final = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html"
_STREAM: Final = "https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html"
_ON_FAILURE: Final = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"
_TRACES: Final = "https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html"
_SCHEDULE: Final = "https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html"
_POLLED: Final = {
    "sqs": (_QUEUE, ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")),
    "dynamodb": (
        _STREAM,
        ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
    ),
}

PATTERNS: Final = {
    r"arn:aws:logs:[^*]+:log-group:[^*]+:\*": "The streams of one log group.",
    r"arn:aws:ses:[^*]+:identity/\*": "Limited by the sender's address instead: see infra/email_consumer.py.",
    r"arn:aws:lambda:[^*]+:function:[^*]+:\*": "The CDK lets the scheduler invoke versions too. There are none.",
}
"""For each pattern of resources with a wildcard, the reason why permissions may have such resources."""
# The ARN formats of the resources with which a service publishes:
# https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
PUBLISHERS: Final = {
    "cloudwatch.amazonaws.com": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:*",
    "ses.amazonaws.com": f"arn:aws:ses:{REGION}:{ACCOUNT}:configuration-set/EmailFeedbackConfigurationSet77267C93",
}
_OF_EVERY_CONSUMER: Final = {"TABLE_NAME", "QUEUE_URL", "DLQ_URL"}
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
WITHOUT_RESOURCES: Final = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def _by_version_1(template: Template, roles: Mapping[str, str]) -> Iterator[tuple[str, Request]]:
    table = Deployed(template).resolve({"Fn::GetAtt": ["Table", "Arn"]})
    for name, function in template.all("AWS::Lambda::Function").items():
        if "_consumer." in function["Handler"]:
            yield roles[name], Request("dynamodb:UpdateItem", table, why="docs/deployment.md, Upgrade")


def made_by_aws(template: Template) -> Iterator[tuple[str, Request]]:
    """The requests that not this version's code makes, but AWS or version 1 in an upgrade: each with its role."""
    deployed = Deployed(template)
    roles = {name: target(it["Role"]) for name, it in template.all("AWS::Lambda::Function").items()}
    yield from _by_version_1(template, roles)
    for name, function in template.all("AWS::Lambda::Function").items():
        group = deployed.resolve({"Fn::GetAtt": [target(function["LoggingConfig"]["LogGroup"]), "Arn"]})
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            yield roles[name], Request(action, group.removesuffix("*") + "log-stream:stream", why=_LOGS)
        traced = function.get("TracingConfig", {}).get("Mode") == "Active"
        for action in sorted(WITHOUT_RESOURCES) if traced else ():
            yield roles[name], Request(action, "*", why=_TRACES)
    for source in template.all("AWS::Lambda::EventSourceMapping").values():
        arn = deployed.resolve(source["EventSourceArn"])
        why, actions = _POLLED[arn.split(":")[2]]
        for action in actions:
            yield roles[target(source["FunctionName"])], Request(action, arn, why=why)
    for kind in ("AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"):
        for it in template.all(kind).values():
            if "DestinationConfig" in it:
                destination = deployed.resolve(it["DestinationConfig"]["OnFailure"]["Destination"])
                yield roles[target(it["FunctionName"])], Request("sqs:SendMessage", destination, why=_ON_FAILURE)
    for schedule in template.all("AWS::Scheduler::Schedule").values():
        arn = deployed.resolve(schedule["Target"]["Arn"])
        role = target(schedule["Target"]["RoleArn"])
        yield role, Request("lambda:InvokeFunction", arn, why=_SCHEDULE)
        yield role, Request("lambda:InvokeFunction", f"{arn}:1", why="See PATTERNS.")


def refused(template: Template, calls: set[Call]) -> list[str]:
    """Return the functions' calls that their roles do not allow."""
    deployed = Deployed(template)
    return [
        f"{call.function}: {request.action} on {request.resource}"
        for call in calls
        if _is_there(call, deployed)
        and not deployed.allows(deployed.role(call.function), request := deployed.request(call))
    ]


def _resent_past_its_fallback(system: World, topic: Topic) -> None:
    """A resend delivers a request before its fallback, so the fallback's consumer drops its message."""
    (channel,) = ROUTES[topic].channels
    PATHS["by the fallback"].before(system, topic)
    request_id = system.accept_for_sure(topic, DESCRIPTION, "key")
    system.produce()
    system.consume(channel)
    system.produce()
    system.heal()
    system.resend(request_id, channel, "now")
    system.produce()
    system.consume(channel)
    system.settle()


def _died_without_a_word(system: World, topic: Topic) -> None:
    """SQS moves a message to the dead-letter queue, which the reconciler then reads."""
    system.accept_for_sure(topic, DESCRIPTION, "key")
    system.produce()
    (channel,) = ROUTES[topic].channels
    (body,) = system.bodies(channel)
    system.aws.purge(channel)
    system.cloud.sqs.send_message(QueueUrl=system.cloud.dlqs[channel], MessageBody=body)
    system.advance(40)
    system.reconcile()
    system.settle()


def _lost(system: World, topic: Topic) -> None:
    """A message is lost, so the reconciler asks whether the queue of the channel is empty."""
    system.accept_for_sure(topic, DESCRIPTION, "key")
    system.produce()
    system.advance(QUEUE_RETENTION + 1)
    system.reconcile()
    system.settle()


def _fallback_by_the_sweep(system: World, topic: Topic) -> None:
    """The reconciler publishes a fallback from the outbox of a record, and reads the request for it."""
    (channel,) = ROUTES[topic].channels
    PATHS["by the fallback"].before(system, topic)
    system.accept_for_sure(topic, DESCRIPTION, "key")
    system.produce()
    system.consume(channel)
    system.read_stream()
    system.stream.clear()
    system.advance(120)
    system.reconcile()
    system.settle()


def _by_other_channels(system: World) -> None:
    """Resend a request by each channel without a route, which fails because the channel's secret has no value.

    Then resend it to a named Teams workflow. The calls of the delivery engine are the same for every channel.
    """
    request_id = system.accept_for_sure(Topic.SALES, DESCRIPTION, "key")
    system.settle()
    for channel in set(Channel) - {*named(ROUTES.values())}:
        system.resend(request_id, channel, f"by {channel}")
        system.produce()
        system.consume(channel)
    route = {"channels": ["slack"], "fallback": "email", "where": {Channel.TEAMS: "elsewhere"}}
    secrets = {"elsewhere": "no secret"}
    with patch.dict(os.environ, ROUTES=json.dumps({Topic.SALES: route}), TEAMS_SECRETS=json.dumps(secrets)):
        forget()
        system.resend(request_id, Channel.TEAMS, "elsewhere")
        system.produce()
        system.consume(Channel.TEAMS)
    forget()


def _taken(system: World) -> None:
    """A person takes a request in Slack, and another one with the link in a mail."""
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
    mine = {
        "TAKE": "true", "TAKE_PAGE": "https://api.example.com/take/", "TAKE_SECRET": f"{secret}take-a1b2c3",
        "SLACK_SIGNING_SECRET": f"{secret}slack-signing-a1b2c3", "RESPONSE_ORIGIN": system.slack.origin,
    }  # fmt: skip
    system.slack.signing_secret = "s" * 32
    system.slack.call_app = partial(_callback_statuses, system)
    with patch.dict(os.environ, mine):
        forget()
        request_id = system.accept_for_sure(Topic.PRICING, DESCRIPTION, "by mail")
        system.accept_for_sure(Topic.SALES, DESCRIPTION, "in Slack")
        system.settle()
        assert system.slack.press(system.slack.messages[-1]["ts"], "anna") == HTTPStatus.OK
        link = token(Link(request_id, Channel.EMAIL, record_of(system.cloud.table, request_id).ttl), [b"t" * 44])
        # Each function reads the secret separately.
        forget()
        form = http_event("POST", f"/take/{link}", "name=Anna")
        assert system.cloud.handler("take_page")(form, system.cloud.context)["statusCode"] == HTTPStatus.OK
    forget()


def _callback_statuses(system: World, body: str, headers: Mapping[str, str]) -> int:
    event = http_event("POST", "/slack/interactions", body, **{k.replace("-", "_"): v for k, v in headers.items()})
    return int(system.cloud.handler("slack_interactions")(event, system.cloud.context)["statusCode"])


def _by_the_engine(calls: set[Call]) -> set[Call]:
    """The calls that all consumers of the default routes make, as calls of every channel's consumer.

    Also the reconciler's calls to Slack's queues, as calls to the queues of every destination.
    """
    routed = named(ROUTES.values())

    def own(channel: Channel) -> set[Call]:
        mine = {it for it in calls if it.function == f"{channel}_consumer"}
        return {replace(it, function="", variables=it.variables & _OF_EVERY_CONSUMER) for it in mine}

    common = set.intersection(*map(own, routed))
    swept = {it for it in calls if it.function == "reconciler" and any("QUEUES.slack." in v for v in it.variables)}
    return {replace(it, function=f"{channel}_consumer") for it in common if it.variables for channel in Channel} | {
        replace(it, variables=frozenset(v.replace("slack", channel) for v in it.variables if v.startswith("QUEUES.")))
        for it in swept
        for channel in DESTINATIONS
    }


def _is_there(call: Call, deployed: Deployed) -> bool:
    """Whether the template has the function of this call, and the called resource.

    A stage has no function or queue of a channel without a route, and no secret of take links if takes are off.
    """
    held = deployed.environments.get(call.function)
    if held is not None and "TAKE_SECRET" in call.variables - held.keys():
        return False
    wanted = {name for name in call.variables if name.startswith("QUEUES.")}
    return held is not None and (call.function != "reconciler" or not wanted or bool(wanted & held.keys()))


@pytest.fixture(scope="module", params=[*VARIANTS, "every channel"])
def template(request: pytest.FixtureRequest) -> Template:
    return synthesized(request.param)


@pytest.fixture(scope="module")
def on_every_path(recorded_calls: set[Call]) -> set[Call]:
    """Record the functions' calls on every path that a request may take."""
    with record() as calls, world() as system:
        for topic in Topic:
            for path in (path for path in PATHS.values() if topic in path.topics):
                run(system, path, topic, None)
                system.reconcile()
            system.deploy({})
            for step in (_resent_past_its_fallback, _fallback_by_the_sweep, _died_without_a_word, _lost):
                system.reset()
                step(system, topic)
        for event in ("delivery", "bounce"):
            system.reset()
            request_id = system.accept_for_sure(Topic.PRICING, DESCRIPTION, "key")
            system.settle()
            system.publish_mail_event(event, 0)
            system.bring_feedback()
        system.resend(request_id, Channel.EMAIL, "once more")
        system.settle()
        system.publish_mail_event("bounce", 1)
        system.bring_feedback()
        system.reset()
        _by_other_channels(system)
        system.reset()
        _taken(system)
    return calls


def test_every_iam_role_has_exactly_the_permissions_listed_in_this_test(template: Template) -> None:
    assert not [role for role in template.all("AWS::IAM::Role").values() if role.get("ManagedPolicyArns")]
    for policy in template.all("AWS::IAM::Policy").values():
        for statement in Deployed(template).resolve(policy["PolicyDocument"]["Statement"]):
            assert set(statement) <= {"Action", "Condition", "Effect", "Resource"}
            assert "*" not in "".join(as_list(statement["Action"]))
            if set(as_list(statement["Action"])) <= WITHOUT_RESOURCES:
                continue
            for resource in as_list(statement["Resource"]):
                assert "*" not in resource or any(re.fullmatch(pattern, resource) for pattern in PATTERNS), resource


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_the_kms_key_can_be_used_only_by_aws_services_on_behalf_of_resources_of_this_account(variant: str) -> None:
    template = synthesized(variant)
    statements = Deployed(template).resolve(template.services_key()[1]["KeyPolicy"]["Statement"])
    (owner,) = (it for it in statements if "Condition" not in it)
    # Without it nobody could change the key: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    assert owner["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    for statement in (it for it in statements if it is not owner):
        service = statement["Principal"]["Service"]
        assert statement["Condition"] == {
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
            "ArnLike": {"aws:SourceArn": PUBLISHERS[service]},
        }, service
        assert set(statement["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_the_kms_permission_of_an_aws_service_has_the_same_conditions_as_its_sns_publish_permission(
    variant: str,
) -> None:
    template = synthesized(variant)
    deployed = Deployed(template)
    key = deployed.resolve(template.services_key()[1]["KeyPolicy"]["Statement"])
    publishes = [
        statement
        for policy in template.all("AWS::SNS::TopicPolicy").values()
        for statement in deployed.resolve(policy["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Allow"
    ]

    def conditions(statements: list[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
        return {
            it["Principal"]["Service"]: {
                name.lower(): value for test in it["Condition"].values() for name, value in test.items()
            }
            for it in statements
            if "Service" in it["Principal"]
        }

    assert conditions(key) == conditions(publishes)


@pytest.mark.parametrize("variant", [*VARIANTS, *EXTRAS])
def test_no_iam_role_may_use_a_kms_key(variant: str) -> None:
    """Queues, table and secrets use AWS's keys. The key policy of the topic's key admits the services that publish."""
    policies = synthesized(variant).all("AWS::IAM::Policy").values()
    assert not [policy for policy in policies if '"kms:' in json.dumps(policy["PolicyDocument"])]


def test_the_iam_roles_allow_every_aws_call_recorded_in_any_test(
    template: Template, on_every_path: set[Call], recorded_calls: set[Call]
) -> None:
    assert on_every_path <= recorded_calls
    assert not (found := refused(template, recorded_calls | _by_the_engine(on_every_path))), "\n".join(found)


def test_the_iam_roles_allow_the_calls_that_the_lambda_service_makes_on_behalf_of_a_function(
    template: Template,
) -> None:
    deployed = Deployed(template)
    assert not [(role, it) for role, it in made_by_aws(template) if not deployed.allows(role, it)]


def test_every_permission_of_an_iam_role_is_used_on_each_of_its_resources(
    template: Template, on_every_path: set[Call]
) -> None:
    """A template must not have a permission that no call needs, even if the CDK adds it."""
    deployed = Deployed(template)
    used = {(role, it.action, it.resource) for role, it in made_by_aws(template)}
    seen = on_every_path | _by_the_engine(on_every_path)
    for call in (call for call in seen if _is_there(call, deployed)):
        request = deployed.request(call)
        used.add((deployed.role(call.function), request.action, request.resource))
    unused = [
        f"{role}: {action} on {resource}"
        for role in {target(role) for policy in template.all("AWS::IAM::Policy").values() for role in policy["Roles"]}
        for statement in deployed.statements(role)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if not any((role, action) == (user, act) and fnmatchcase(on, resource) for user, act, on in used)
    ]
    assert not unused, "\n".join(unused)
