"""Helpers: an operator's commands, and requests in a given state."""

import json
import re
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest
from moto.sqs.models import sqs_backends

from assistance.routing import Channel
from local.slack_server import SlackServer
from tests import command_line
from tests.integration.cloud import Cloud


class Killed(BaseException):
    """The test kills the operator's process: raised by the call at which that happens."""


USAGE_ERROR = 2
STACK = re.compile(r"Stack: assistance-[a-z]+ \(in us-east-1\)\n")


@dataclass(frozen=True)
class Result:
    """The result of a command. `stderr` lacks the line that names the stack; `output` has every line."""

    exit_code: int
    stdout: str
    stderr: str
    output: str
    exception: BaseException | None = None


@dataclass
class Operator:
    """A person at the command line, and a system with requests."""

    cloud: Cloud
    slack: SlackServer
    session: Any
    outputs: dict[str, str]
    is_killed: Event = field(default_factory=Event)

    def run(self, *arguments: str, terminal: str | bytes | None = None) -> Result:
        """Run a command. Unless its usage is wrong, stderr must begin with the stack's name. `terminal`: its input."""
        result = command_line.run(*arguments, typed=terminal)
        if result.exit_code == USAGE_ERROR:
            return Result(result.exit_code, result.stdout, result.stderr, result.output)
        assert STACK.match(result.stderr), result.output
        stderr = STACK.sub("", result.stderr, count=1)
        return Result(result.exit_code, result.stdout, stderr, result.output, result.exception)

    def json(self, *arguments: str) -> Any:  # noqa: ANN401
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, (result.output, repr(result.exception))
        return json.loads(result.stdout)

    def run_and_kill(self, moment: str, *arguments: str) -> None:
        """Run a command and kill it before the given boto3 event, such as `before-call.sqs.SendMessageBatch`."""

        def kill(**_: object) -> None:
            self.is_killed.set()
            raise Killed

        self.session.events.register(moment, kill)
        with pytest.raises(Killed):
            self.run(*arguments)
        self.session.events.unregister(moment, kill)
        self.is_killed.clear()
        self.make_messages_visible()

    def make_messages_visible(self) -> None:
        """Let the time pass after which every message is visible again."""
        for queue in sqs_backends["123456789012"]["us-east-1"].queues.values():
            for message in queue._messages:  # noqa: SLF001
                message.change_visibility(0)

    def deliver(self, channel: Channel = Channel.SLACK) -> None:
        """Consume until the channel's queue is empty: one message at a time, since moto's writes are not atomic."""
        while records := self.cloud.receive(channel):
            for record in records:
                self.cloud.consume(channel, [record])

    def move_to_dlq(self, channel: Channel, dlq: str) -> None:
        """Move the messages in the channel's queue to the dead-letter queue with the URL `dlq`, as SQS and SNS do."""
        for record in self.cloud.receive(channel):
            self.cloud.sqs.send_message(QueueUrl=dlq, MessageBody=record["body"])
            self.cloud.sqs.delete_message(QueueUrl=self.cloud.queues[channel], ReceiptHandle=record["receiptHandle"])

    def create_dead_letter(self, topic: str = "sales", description: str = "help") -> str:
        """Create a request whose message is in the dead-letter queue without an error code.

        Returns the request's id.
        """
        request_id = self.cloud.post(topic, description)
        self.cloud.produce()
        self.move_to_dlq(Channel.SLACK, self.cloud.dlqs[Channel.SLACK])
        return request_id

    def posted(self, description: str) -> int:
        return sum(description in json.dumps(message) for message in self.slack.messages)
