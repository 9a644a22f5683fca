"""Tests SES events about sent mails: they may come late, twice, in any order, or about an earlier mail of a request."""

import json
from datetime import timedelta
from typing import Any

import pytest

from assistance.models import Message
from assistance.platform.clock import timestamp, utc_now
from assistance.routing import Channel
from email_consumer import handler as email_consumer
from email_feedback import handler as email_feedback
from email_feedback.events import VALIDATION, MalformedEvent
from email_feedback.feedback import DlqUnavailable, NotYetRecorded
from local.slack_server import SlackServer
from tests.fixtures import documented
from tests.integration.cloud import Cloud
from tests.integration.steps import (
    email_delivery,
    emails,
    example,
    fail_on_slack,
    feedback,
    invoke_email_feedback,
    mailed,
    sent,
)
from tests.records import item_of, put_delivery, resend, under_way

ID = "01a20f8b-23ac-7f05-98ff-08db86bebb44"
CODES = {"bounce": "bounce_permanent", "complaint": "complaint", "reject": "reject"}


@pytest.mark.parametrize("name", CODES)
def test_a_bounced_mail_causes_a_dead_letter_and_the_fallback_delivers_the_request(
    stack: Cloud, slack: SlackServer, name: str
) -> None:
    request_id = mailed(stack)
    feedback(stack, name, request_id)
    assert stack.status(request_id) == "failed"
    delivery = email_delivery(stack, request_id)
    assert (delivery["status"], delivery["last_error"]) == ("failed", CODES[name])
    assert [attempt["outcome"] for attempt in delivery["timeline"]] == ["delivered", "failed"]
    [letter] = stack.dead_letters(Channel.EMAIL)
    message = Message.model_validate_json(letter["Body"])
    assert (message.request.id, message.delivery) == (request_id, None), "a redrive sends the request's own delivery"
    told = {attribute: value["StringValue"] for attribute, value in letter["MessageAttributes"].items()}
    assert told == {"error_code": CODES[name], "channel": "email", "source_message_id": "sns-1"}
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    [posted] = slack.messages
    assert f"Sent here because the email could not be delivered ({CODES[name]})" in json.dumps(posted)


def test_a_repeated_bounce_event_changes_nothing_and_redriving_its_dead_letters_sends_one_mail(
    stack: Cloud, slack: SlackServer
) -> None:
    slack.fail("error", error="is_archived")
    request_id = mailed(stack)
    message_id = sent(stack, request_id)
    feedback(stack, "bounce", request_id)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    before = item_of(stack.table, request_id)
    feedback(stack, "bounce", request_id, message_id)
    assert item_of(stack.table, request_id) == before
    assert stack.stream_records() == [], "nothing re-enters the outbox"
    letters = len(stack.dead_letters(Channel.EMAIL))
    feedback(stack, "complaint", request_id)
    assert item_of(stack.table, request_id) == before
    assert len(stack.dead_letters(Channel.EMAIL)) == letters
    stack.redrive(Channel.EMAIL)
    stack.consume_until_quiet(Channel.EMAIL)
    assert stack.status(request_id) == "delivered"
    assert len(emails()) == 2, "the mail that bounced, and one more for all its dead letters"
    feedback(stack, "bounce", request_id, message_id)
    assert not stack.dead_letters(Channel.EMAIL), "what is delivered since has no dead letter"


def test_two_simultaneous_bounce_events_of_one_mail_use_the_fallback_once(stack: Cloud, slack: SlackServer) -> None:
    request_id = mailed(stack)
    message_id = sent(stack, request_id)
    others = iter([message_id])

    def meanwhile(**_: Any) -> None:  # noqa: ANN401
        for other in others:
            feedback(stack, "bounce", request_id, other)

    email_feedback.feedback().sqs.meta.events.register("before-send.sqs.SendMessage", meanwhile)
    feedback(stack, "bounce", request_id, message_id)
    assert stack.status(request_id) == "failed"
    assert len(stack.dead_letters(Channel.EMAIL)) == 2
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert len(slack.messages) == 1
    stack.redrive(Channel.EMAIL)
    stack.consume_until_quiet(Channel.EMAIL)
    assert len(emails()) == 1, "and neither letter sends what the fallback has delivered"


def test_a_bounce_event_is_retried_until_the_dead_letter_is_written(stack: Cloud) -> None:
    request_id = mailed(stack)
    url = stack.dlqs[Channel.EMAIL]
    stack.sqs.delete_queue(QueueUrl=url)
    with pytest.raises(DlqUnavailable):
        feedback(stack, "bounce", request_id)
    assert stack.status(request_id) == "failed"
    stack.sqs.create_queue(QueueName=url.rpartition("/")[2])
    feedback(stack, "bounce", request_id)
    assert stack.status(request_id) == "failed"
    [_] = stack.dead_letters(Channel.EMAIL)


def automatic_reply(
    stack: Cloud,
    request_id: str,
    *,
    age: timedelta = timedelta(days=1),
    sent_before: timedelta = timedelta(0),
    report: dict[str, str] | None = None,
) -> None:
    """Deliver SES's event for an out-of-office reply: a transient bounce without a delivery status report.

    SNS published the event `age` ago. By its own clock, the recipient's mail server had sent the reply `sent_before`
    that. `report`: fields of such a report, which make the event one for a real bounce.
    """
    event = example("bounce", request_id, sent(stack, request_id))
    recipient = {"emailAddress": "recipient@example.com"} | (report or {})
    event["bounce"] |= {"bounceType": "Transient", "bounceSubType": "General", "bouncedRecipients": [recipient]}
    event["bounce"]["timestamp"] = timestamp(utc_now() - age - sent_before)
    invoke_email_feedback(stack, json.dumps(event), Timestamp=timestamp(utc_now() - age))


def test_an_automatic_reply_does_not_change_the_status_of_a_mail_whose_delivery_ses_has_confirmed(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = mailed(stack)
    feedback(stack, "delivery", request_id)
    automatic_reply(stack, request_id)
    assert stack.status(request_id) == "delivered"
    assert email_delivery(stack, request_id)["status"] == "delivered"
    assert not stack.dead_letters(Channel.EMAIL)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert slack.messages == []


def test_an_automatic_reply_and_an_ses_delivery_event_have_the_same_result_in_either_order(stack: Cloud) -> None:
    """Lambda repeats a failed event after one minute, and again after two more."""
    request_id = mailed(stack)
    for seconds in (1, 70):
        with pytest.raises(NotYetRecorded):
            automatic_reply(stack, request_id, age=timedelta(seconds=seconds))
    feedback(stack, "delivery", request_id)
    automatic_reply(stack, request_id, age=timedelta(seconds=190))
    assert stack.status(request_id) == "delivered"
    assert not stack.dead_letters(Channel.EMAIL)


def test_lambdas_last_call_for_an_unconfirmed_bounce_without_a_delivery_status_report_fails_the_mail(
    stack: Cloud,
) -> None:
    request_id = mailed(stack)
    automatic_reply(stack, request_id, age=timedelta(seconds=180))
    assert stack.status(request_id) == "failed"
    assert len(stack.dead_letters(Channel.EMAIL)) == 1


@pytest.mark.parametrize("sent_before", [timedelta(hours=1), timedelta(hours=-1)])
def test_the_clock_of_the_recipients_mail_server_does_not_change_how_long_an_automatic_reply_waits(
    stack: Cloud, sent_before: timedelta
) -> None:
    request_id = mailed(stack)
    for seconds in (1, 70):
        with pytest.raises(NotYetRecorded):
            automatic_reply(stack, request_id, age=timedelta(seconds=seconds), sent_before=sent_before)
    assert stack.status(request_id) == "delivered"
    automatic_reply(stack, request_id, age=timedelta(seconds=190), sent_before=sent_before)
    assert stack.status(request_id) == "failed"


@pytest.mark.parametrize("time", ["", "2016-10-19T23:21:04", None])
def test_a_bounce_fails_the_mail_whatever_time_the_recipients_mail_server_has_given(
    stack: Cloud, time: str | None
) -> None:
    request_id = mailed(stack)
    event = example("bounce", request_id, sent(stack, request_id))
    event["bounce"]["timestamp"] = time
    invoke_email_feedback(stack, json.dumps(event))
    assert stack.status(request_id) == "failed"


def test_a_bounce_with_a_delivery_status_report_fails_the_mail_without_waiting_for_its_delivery_event(
    stack: Cloud,
) -> None:
    request_id = mailed(stack)
    automatic_reply(stack, request_id, age=timedelta(seconds=1), report={"status": "4.4.7"})
    assert stack.status(request_id) == "failed"


@pytest.mark.parametrize("report", [{"status": "4.4.7"}, {"diagnosticCode": "smtp; 421 4.4.1"}, {"action": "failed"}])
def test_a_transient_bounce_with_a_delivery_status_report_fails_a_mail_whose_delivery_ses_had_confirmed(
    stack: Cloud, report: dict[str, str]
) -> None:
    request_id = mailed(stack)
    feedback(stack, "delivery", request_id)
    automatic_reply(stack, request_id, report=report)
    assert stack.status(request_id) == "failed"


def test_a_bounce_without_a_delivery_status_report_fails_a_mail_that_ses_has_not_reported_as_arrived(
    stack: Cloud,
) -> None:
    request_id = mailed(stack)
    automatic_reply(stack, request_id)
    assert stack.status(request_id) == "failed"


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("Undetermined", "Undetermined"),
        ("Permanent", "General"),
        ("Permanent", "NoEmail"),
        ("Permanent", "Suppressed"),
        ("Permanent", "OnAccountSuppressionList"),
        ("Permanent", "OnTenantSuppressionList"),
        ("Permanent", "EmailValidationSuppressed"),
        ("Transient", "MailboxFull"),
        ("Transient", "MessageTooLarge"),
        ("Transient", "CustomTimeoutExceeded"),
        ("Transient", "ContentRejected"),
        ("Transient", "AttachmentRejected"),
        ("Transient", "ASubtypeOfTomorrow"),
    ],
)
def test_a_bounce_of_any_type_except_an_automatic_reply_fails_a_mail_whose_delivery_ses_had_confirmed(
    stack: Cloud, kind: str, subtype: str
) -> None:
    request_id = mailed(stack)
    feedback(stack, "delivery", request_id)
    event = example("bounce", request_id, sent(stack, request_id))
    event["bounce"] |= {"bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": [{}]}
    invoke_email_feedback(stack, json.dumps(event))
    assert stack.status(request_id) == "failed"


def test_an_ses_delivery_event_sets_the_confirmation_time_and_an_earlier_event_does_not_move_it_back(
    stack: Cloud,
) -> None:
    request_id = mailed(stack)
    feedback(stack, "delivery", request_id)
    earlier = example("delivery", request_id, sent(stack, request_id))
    earlier["delivery"]["timestamp"] = "2016-10-19T23:20:59.000Z"
    invoke_email_feedback(stack, json.dumps(earlier))
    assert email_delivery(stack, request_id)["confirmed_at"] == "2016-10-19T23:21:04.133Z"
    assert stack.status(request_id) == "delivered"


@pytest.mark.parametrize("order", [("delivery", "bounce"), ("bounce", "delivery")])
def test_an_ses_delivery_event_and_a_bounce_event_have_the_same_result_in_either_order(
    stack: Cloud, order: tuple[str, str]
) -> None:
    request_id = mailed(stack)
    for name in order:
        feedback(stack, name, request_id)
    delivery = email_delivery(stack, request_id)
    assert (delivery["status"], delivery["confirmed_at"]) == ("failed", "2016-10-19T23:21:04.133Z")


@pytest.mark.parametrize("name", ["bounce", "delivery"])
def test_an_ses_event_about_another_mail_of_the_same_request_is_ignored(stack: Cloud, name: str) -> None:
    request_id = mailed(stack)
    before = item_of(stack.table, request_id)
    feedback(stack, name, request_id, "an-earlier-mail")
    assert item_of(stack.table, request_id) == before
    assert not stack.dead_letters(Channel.EMAIL)


@pytest.mark.parametrize("name", ["bounce", "delivery"])
def test_an_ses_event_that_arrives_before_the_consumer_has_recorded_the_mail_is_retried(
    stack: Cloud, name: str
) -> None:
    request_id = mailed(stack)
    recorded, message_id = item_of(stack.table, request_id), sent(stack, request_id)
    put_delivery(stack.table, request_id, Channel.EMAIL, attempts=under_way())
    with pytest.raises(NotYetRecorded):
        feedback(stack, name, request_id, message_id)
    assert not stack.dead_letters(Channel.EMAIL)
    stack.table.put_item(Item=recorded)
    feedback(stack, name, request_id, message_id)
    assert stack.status(request_id) == {"bounce": "failed", "delivery": "delivered"}[name]


@pytest.mark.parametrize("name", ["bounce", "delivery"])
def test_an_ses_event_about_an_expired_request_is_ignored(stack: Cloud, name: str) -> None:
    feedback(stack, name, ID, "a-mail")
    assert not stack.dead_letters(Channel.EMAIL)


def test_a_redriven_mail_has_status_delivered_and_can_bounce_again(stack: Cloud, slack: SlackServer) -> None:
    request_id = mailed(stack)
    first = sent(stack, request_id)
    feedback(stack, "delivery", request_id)
    feedback(stack, "bounce", request_id)
    slack.fail("error", error="is_archived")
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "failed"
    stack.redrive(Channel.EMAIL)
    stack.consume_until_quiet(Channel.EMAIL)
    delivery = email_delivery(stack, request_id)
    assert (stack.status(request_id), delivery["status"]) == ("delivered", "delivered")
    assert delivery.get("confirmed_at") is None, "which was said of the first mail"
    assert len(emails()) == 2
    feedback(stack, "bounce", request_id, first)
    assert stack.status(request_id) == "delivered"
    feedback(stack, "bounce", request_id)
    assert stack.status(request_id) == "failed"
    assert len(stack.dead_letters(Channel.EMAIL)) == 1


def resend_by_email(stack: Cloud, request_id: str) -> None:
    resend(stack.table, request_id, Channel.EMAIL)
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    assert stack.status(request_id) == "delivered"


def test_a_second_bounce_starts_the_fallback_that_had_been_cancelled_after_the_redrive(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = mailed(stack)
    feedback(stack, "bounce", request_id)
    resend_by_email(stack, request_id)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert not slack.messages, "the mail that was sent once more has been delivered"
    feedback(stack, "bounce", request_id)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1
    stack.redrive(Channel.EMAIL)
    stack.consume_until_quiet(Channel.EMAIL)
    assert len(emails()) == 3, "only the dead letter of the resend sends: the fallback has delivered the request"


def test_a_cancelled_fallback_with_unknown_outcome_is_searched_in_slack_before_it_is_sent_again(
    stack: Cloud, slack: SlackServer
) -> None:
    request_id = mailed(stack)
    feedback(stack, "bounce", request_id)
    stack.produce()
    slack.fail("drop", times=1)
    stack.consume(Channel.SLACK)
    assert len(slack.messages) == 1, "Slack took it, and hung up"
    resend_by_email(stack, request_id)
    stack.consume_until_quiet(Channel.SLACK)
    feedback(stack, "bounce", request_id)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert stack.status(request_id) == "delivered"
    assert len(slack.messages) == 1


def test_a_bounced_fallback_mail_has_no_further_fallback(stack: Cloud, slack: SlackServer) -> None:
    request_id = fail_on_slack(stack, slack, "both fail")
    stack.produce()
    stack.consume_until_quiet(Channel.EMAIL)
    feedback(stack, "bounce", request_id)
    assert stack.status(request_id) == "failed"
    assert stack.stream_records() == [], "nothing re-enters the outbox"
    [letter] = stack.dead_letters(Channel.EMAIL)
    assert Message.model_validate_json(letter["Body"]).delivery == "fallback"


@pytest.mark.parametrize(
    "message",
    [
        "not JSON",
        "{}",
        '{"eventType": "Novelty"}',
        '{"eventType": "Bounce", "bounce": {"bounceType": "Permanent"}, "mail": {"messageId": "m", "tags": {}}}',
        '{"eventType": "Delivery", "mail": {"messageId": "m", "tags": {"request_id": ["r"]}}}',
        # In a mail that another sender sent with this header, the tag may have any value, and may occur twice.
        # https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html
        *(
            json.dumps(documented("ses/bounce") | {"mail": {"messageId": "m", "tags": {"request_id": tags}}})
            for tags in (["LEDGER"], [ID.upper()], [ID, ID], [], ID)
        ),
    ],
)
def test_a_malformed_ses_event_raises_an_error_and_reaches_the_failures_queue(stack: Cloud, message: str) -> None:
    with pytest.raises(MalformedEvent):
        invoke_email_feedback(stack, message)


def test_an_ses_event_of_a_type_that_changes_no_status_is_ignored(stack: Cloud) -> None:
    request_id = mailed(stack)
    before = item_of(stack.table, request_id)
    feedback(stack, "delivery_delay", request_id)
    invoke_email_feedback(stack, VALIDATION)
    assert item_of(stack.table, request_id) == before


def test_a_report_that_the_mail_is_no_spam_does_not_fail_the_mail(stack: Cloud, slack: SlackServer) -> None:
    """SES publishes such a report as a complaint: https://www.rfc-editor.org/rfc/rfc6430."""
    request_id = mailed(stack)
    event = example("complaint", request_id, sent(stack, request_id))
    event["complaint"]["complaintFeedbackType"] = "not-spam"
    invoke_email_feedback(stack, json.dumps(event))
    assert email_delivery(stack, request_id)["status"] == "delivered"
    assert not stack.dead_letters(Channel.EMAIL)
    stack.produce()
    stack.consume_until_quiet(Channel.SLACK)
    assert slack.messages == []


def test_a_mail_is_sent_with_tags_that_name_the_request_in_each_ses_event(stack: Cloud) -> None:
    calls: list[dict[str, Any]] = []
    email_consumer.ses().meta.events.register(
        "provide-client-params.sesv2.SendEmail", lambda params, **_: calls.append(params)
    )
    request_id = mailed(stack)
    [call] = calls
    assert call["ConfigurationSetName"] == "feedback"
    assert call["EmailTags"] == [{"Name": "request_id", "Value": request_id}]
