"""Implements `assistance doctor`: checks the parts that people set up by hand, and advises how to correct them."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from slack_sdk import WebClient

from assistance.engine.dead_letters import depth
from assistance.errors import PermanentFailure, TransientFailure, UnusableSecret
from assistance.platform.aws import AWS_ERRORS
from assistance.routing import CALLBACK, ROUTES, Channel, Place, named
from assistance.routing import read as read_routes
from cli import hints, secrets, ses_checks
from cli.errors import Failure, explained
from cli.findings import Finding, State, ok_if
from cli.stack import Stack
from cli.switches import schedules
from slack_consumer import web_api

DEAD_LETTERS: Final = "Dead letters"
DOMAIN: Final = "API domain"
_HISTORY: Final = frozenset({"channels:history", "groups:history"})
# By Slack's error code: https://docs.slack.dev/reference/methods/conversations.history#errors
_CHANNEL_ADVICE: Final = {
    "channel_not_found": "set slack_channel, or the route's 'where', to the channel's id (C…), and invite the bot",
    "not_in_channel": "invite the bot: /invite @bot in the channel",
    "missing_scope": "add the scope channels:history (groups:history for a private channel), and install the app again",
}
# After these errors, Slack does not accept the token at all.
_NO_TOKEN: Final = frozenset({"account_inactive", "invalid_auth", "not_authed", "token_expired", "token_revoked"})
_UNUSUAL: Final = "see docs/failures.md for what the code means"
_NO_ANSWER: Final = "Slack gave no usable answer: check the network, and run this again"
_DELETED: Final = "Deleted"
"""For some days, SNS lists this as the ARN of a subscription that somebody has ended by the link in a mail. AWS does
not document it: https://github.com/ansible/ansible/pull/20086"""
_DESCRIBED_IN: Final = {
    CALLBACK: "docs/deployment.md#change-the-secret-of-the-callbacks",
    "slack-signing": "docs/deployment.md#after-the-first-deployment",
    "take": "docs/operations.md#change-the-secret-of-the-links",
}
"""The section of the documentation that describes a secret's value, by the secret's name."""


def examine(stack: Stack) -> Iterator[Finding]:
    """Yield the findings of all checks, one check after the other: `unknown` for a check that can't run."""
    for name, channel, check in _CHECKS:
        if channel and channel not in stack.channels():
            continue
        try:
            yield from check(stack)
        except (Failure, *AWS_ERRORS) as error:
            advice = str(error) if isinstance(error, Failure) else explained(error)
            yield Finding(name, State.UNKNOWN, "the check could not run", advice)


def _slack(stack: Stack) -> Iterator[Finding]:
    settings = stack.environment("slack_consumer")
    advice = f"the bot's token (xoxb-…): {_store(secrets.SLACK_TOKEN)}"
    try:
        token = secrets.fetch(stack, settings["SLACK_TOKEN_SECRET"], web_api.read_token)
    except UnusableSecret as error:
        yield Finding("Slack token", State.WRONG, str(error), advice)
        return
    try:
        headers = web_api.call(WebClient.auth_test, settings["SLACK_API_URL"], token).headers
    except PermanentFailure as error:
        found = advice if error.code in _NO_TOKEN else _UNUSUAL
        yield Finding("Slack token", State.WRONG, f"Slack refused the check: {error.code}", found)
        return
    except TransientFailure as error:
        yield Finding("Slack token", State.UNKNOWN, error.code, _NO_ANSWER)
        return
    yield Finding("Slack token", State.OK, "accepted")
    if "x-oauth-scopes" in headers:
        scopes = {scope.strip() for scope in headers["x-oauth-scopes"].split(",")}
        missing = [*({"chat:write"} - scopes), *([] if _HISTORY & scopes else ["channels:history or groups:history"])]
        advice = "add them under OAuth & Permissions, and install the app again"
        yield ok_if("Slack scopes", not missing, f"missing: {', '.join(missing)}" if missing else "all", advice)
    for channel in _places(settings, Channel.SLACK, settings["SLACK_CHANNEL"]):
        yield _channel(str(channel), settings["SLACK_API_URL"], token)


def _places(settings: Mapping[str, str], channel: Channel, default: Place) -> list[Place]:
    """The Slack channels or lists of mail addresses to which requests go. `settings`: the consumer's environment.

    `default`: the place of the routes that name none.
    """
    routes = read_routes(settings["ROUTES"]).values() if "ROUTES" in settings else ROUTES.values()
    return list(dict.fromkeys(route.where.get(channel, default) for route in routes if channel in named([route])))


def _channel(channel: str, api_url: str, token: str) -> Finding:
    try:
        web_api.call(partial(WebClient.conversations_history, channel=channel, limit=1), api_url, token)
    except PermanentFailure as error:
        advice = _CHANNEL_ADVICE.get(error.code, _UNUSUAL)
        return Finding("Slack channel", State.WRONG, f"{channel}: {error.code}", advice)
    except TransientFailure as error:
        return Finding("Slack channel", State.UNKNOWN, error.code, _NO_ANSWER)
    return Finding("Slack channel", State.OK, f"{channel} can be read")


def _email_sender(stack: Stack) -> Iterator[Finding]:
    settings = stack.environment("email_consumer")
    yield from ses_checks.sender(stack, settings["EMAIL_SENDER"])
    if not stack.client("sesv2").get_account()["ProductionAccessEnabled"]:
        lists = _places(settings, Channel.EMAIL, tuple(json.loads(settings["EMAIL_RECIPIENTS"])))
        for recipient in dict.fromkeys(address for addresses in lists for address in addresses):
            yield ses_checks.recipient(stack, recipient)


def _secrets(stack: Stack) -> Iterator[Finding]:
    """Check whether the functions can use the secrets: of the channels, of the callback, and for taking requests.

    Slack's token is left out, because `_slack` checks it.
    """
    for name, arn in secrets.names(stack).items():
        if name == secrets.SLACK_TOKEN:
            continue
        if name == Channel.TEAMS and _have_own_places(stack, Channel.TEAMS):
            yield Finding(f"Secret {name}", State.SKIPPED, "not checked, because each route names another")
            continue
        try:
            secrets.fetch(stack, arn, secrets.reader(stack, name))
        except UnusableSecret as error:
            page = _DESCRIBED_IN.get(name, "docs/add-a-channel.md")
            yield Finding(f"Secret {name}", State.WRONG, str(error), f"{_store(name)}; {page} describes its value")
        else:
            yield Finding(f"Secret {name}", State.OK, "has a usable value")


def _have_own_places(stack: Stack, channel: Channel) -> bool:
    """Whether each route with this channel names a place on it, so that none uses the default place."""
    default = ""
    places = _places(stack.environment(f"{channel}_consumer"), channel, default)
    return bool(places) and default not in places


def _store(name: str) -> str:
    return f"store another value: {hints.command('secrets', 'set', name)}"


def _subscriptions(stack: Stack) -> Iterator[Finding]:
    # SNS does not list a subscription that somebody has deleted, so look for each queue.
    confirmed = {it["Endpoint"].rpartition(":")[2] for it in _subscribed(stack, "TopicArn") if _is_confirmed(it)}
    missing = [each for each in [*stack.channels(), CALLBACK] if _name(stack.queue_url(each)) not in confirmed]
    found = f"SNS passes no messages to: {', '.join(missing)}" if missing else "confirmed"
    # An ordinary deployment does not create anew what somebody has deleted.
    advice = "create them again: docs/operations.md#undo-a-change-by-hand"
    yield ok_if("Channels' subscriptions", not missing, found, advice)
    if "OperatorTopicArn" not in stack.outputs:
        yield Finding(
            "Alarms", State.SKIPPED, "not checked, because this stage has no alarms: its setting 'alarms' is false"
        )
        return
    if stack.endpoint_url is not None:
        yield Finding("Alarms", State.SKIPPED, "not checked, because alarms of a local stack notify nobody")
        return
    operators = [it for it in _subscribed(stack, "OperatorTopicArn") if it["SubscriptionArn"] != _DELETED]
    pending = [_shown(it["Endpoint"]) for it in operators if not _is_confirmed(it)]
    if not operators:
        # SNS deletes a subscription after 48 hours without confirmation, or if somebody uses the link in a mail:
        # https://docs.aws.amazon.com/sns/latest/dg/sns-delete-subscription-topic.html
        advice = (
            "set operator_email, and deploy; if it is set, SNS has deleted the subscription: aws sns subscribe "
            f"--topic-arn {stack.output('OperatorTopicArn')} --protocol email --notification-endpoint ADDRESS"
        )
        yield Finding("Alarms", State.WRONG, "they notify nobody", advice)
    else:
        found = f"not confirmed: {', '.join(pending)}" if pending else "subscription confirmed"
        yield ok_if("Alarms", not pending, found, "open the link in the mail that SNS sent to this address")


def _is_confirmed(subscription: Mapping[str, str]) -> bool:
    return subscription["SubscriptionArn"] not in {"PendingConfirmation", _DELETED}


def _name(queue_url: str) -> str:
    return queue_url.rpartition("/")[2]


def _shown(endpoint: str) -> str:
    """An address as findings show it: of a URL only the host, because the rest may contain a paging service's key."""
    return urlsplit(endpoint).hostname or endpoint


def _subscribed(stack: Stack, output: str) -> list[Any]:
    pages = stack.client("sns").get_paginator("list_subscriptions_by_topic")
    return [it for page in pages.paginate(TopicArn=stack.output(output)) for it in page["Subscriptions"]]


def _domain(stack: Stack) -> Iterator[Finding]:
    """Check whether the API's custom domain, if it has one, has a DNS record."""
    if target := stack.outputs.get("DomainTarget"):
        name, holds = urlsplit(stack.output("ApiUrl")).hostname, stack.resolves()
        if not holds and not stack.resolves("ApiGatewayUrl"):
            # API Gateway's name certainly has an address, so a missing one says nothing about the domain.
            found = "not checked, because this machine finds no names' addresses: perhaps it is behind a proxy"
            yield Finding(DOMAIN, State.SKIPPED, found)
            return
        found = f"{name} has {'a' if holds else 'no'} DNS record"
        advice = f"point it at {target} by an alias record or a CNAME: docs/deployment.md#a-domain-of-your-own"
        yield ok_if(DOMAIN, holds, found, advice)


def _schedule(stack: Stack) -> Iterator[Finding]:
    for runs, name in sorted(schedules(stack).items()):
        destination = runs.removeprefix("heartbeat")
        part, check = (
            (["heartbeat", destination], f"Heartbeat (hourly check) of {destination}")
            if destination != runs
            else ([runs], "Schedule of the reconciler")
        )
        state = stack.client("scheduler").get_schedule(Name=name)["State"]
        advice = f"start it: '{hints.command('enable', *part)}'"
        yield ok_if(check, state == "ENABLED", state.lower(), advice)


def _event_sources(stack: Stack) -> Iterator[Finding]:
    client = stack.client("lambda")
    folders = {name: folder for folder, name in stack.functions().items()}
    for uuid in stack.resources("AWS::Lambda::EventSourceMapping").values():
        source = client.get_event_source_mapping(UUID=uuid)
        folder = folders[source["FunctionArn"].rpartition(":")[2]]
        part = ["stream"] if folder == "stream_producer" else ["consumer", folder.removesuffix("_consumer")]
        advice = f"start it: '{hints.command('enable', *part)}'"
        yield ok_if(f"Event source of {folder}", source["State"] == "Enabled", source["State"].lower(), advice)


def _concurrency(stack: Stack) -> Iterator[Finding]:
    """Find functions that somebody has stopped by reserving a concurrency of 0, with which Lambda refuses every call.

    The templates reserve no concurrency.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """
    client = stack.client("lambda")
    names = stack.functions().values()
    off = [n for n in names if client.get_function_concurrency(FunctionName=n).get("ReservedConcurrentExecutions") == 0]
    for name in off:
        advice = f"let it run: aws lambda delete-function-concurrency --function-name {name}"
        yield Finding("Concurrency", State.WRONG, f"{name} can't run: its reserved concurrency is 0", advice)
    if not off:
        limit = client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
        found = f"all functions of this account together may run {limit} times at once"
        yield Finding("Concurrency", State.OK, found)


def _dead_letters(stack: Stack) -> Iterator[Finding]:
    letters = sum(depth(stack.sqs(), queue.url).total for queue in stack.dlqs())
    yield ok_if(DEAD_LETTERS, not letters, str(letters or "none"), f"see '{hints.command('dead-letters', 'list')}'")


# The name of each check, and the channel that it belongs to, or None. The command leaves out the checks of channels
# that are not deployed.
_CHECKS: Final[tuple[tuple[str, Channel | None, Callable[[Stack], Iterator[Finding]]], ...]] = (
    ("Slack", Channel.SLACK, _slack),
    ("SES account", Channel.EMAIL, ses_checks.account),
    ("SES sender", Channel.EMAIL, _email_sender),
    ("Secrets", None, _secrets),
    ("Subscriptions", None, _subscriptions),
    (DOMAIN, None, _domain),
    ("Schedules", None, _schedule),
    ("Event sources", None, _event_sources),
    ("Concurrency", None, _concurrency),
    (DEAD_LETTERS, None, _dead_letters),
)
