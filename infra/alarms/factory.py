"""Creates alarms. Each watches one metric, and its description says what to do.

infra/python_function.py makes the stack's name the namespace of our own metrics. No alarm uses metric math, because
the local emulator can't deploy it.
"""

from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Config

MINUTE: Final = Duration.minutes(1)
FIVE_MINUTES: Final = Duration.minutes(5)
Alarms = list[cloudwatch.Alarm]


class AlarmFactory:
    """Creates alarms in a construct, and lists them in `created`."""

    def __init__(self, scope: Construct, config: Config) -> None:
        self.config = config
        self.namespace = Stack.of(scope).stack_name
        self.created: Alarms = []
        self._scope = scope

    def add(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        description: str,
        *,
        times: int = 1,
        of: int = 1,
        section: str | None = None,
        comparison: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        """Create an alarm that is on while `times` of the last `of` periods violate the threshold.

        `section`: the heading in docs/operations.md to which the description links, by default the alarm's name.
        `missing`: how a period without data counts.
        """
        alarm = cloudwatch.Alarm(
            self._scope,
            name,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=of,
            datapoints_to_alarm=times,
            treat_missing_data=missing,
            alarm_description=self.with_link(description, section or name),
        )
        self.created.append(alarm)
        return alarm

    def add_for_function(self, name: str, function: lambda_.Function, *, times: int = 2) -> Alarms:
        """Create the alarms `<name>Errors` and `<name>Throttles`, on a function's errors and throttled invocations.

        `times`: in how many of the last three periods there must be errors.
        """
        return [
            self.add(
                f"{name}Errors", function.metric_errors(period=FIVE_MINUTES, statistic=cloudwatch.Stats.SUM), 0,
                f"Invocations of the function {name} fail or time out: read its log.",
                times=times, of=3, section="FunctionErrors",
            ),
            self.add(
                f"{name}Throttles", function.metric_throttles(period=FIVE_MINUTES, statistic=cloudwatch.Stats.SUM), 0,
                f"Lambda throttles invocations of the function {name}: raise the account's concurrency quota.",
                times=2, of=3, section="FunctionThrottles",
            ),
        ]  # fmt: skip

    def add_for_dead_letters(
        self, name: str, queue: sqs.Queue, description: str, *, section: str | None = None
    ) -> cloudwatch.Alarm:
        """Create the alarm on a dead-letter queue that is not empty."""
        # A reader makes a dead letter invisible for a second or two, so that one of SQS's samples may miss it. Within
        # three minutes another sample sees it, and one is enough.
        visible = queue.metric_approximate_number_of_messages_visible(period=MINUTE, statistic=cloudwatch.Stats.MAXIMUM)
        return self.add(name, visible, 0, description, of=3, section=section)

    def with_link(self, description: str, section: str) -> str:
        """Return the description with `--stack` in its commands, and a link to the section of docs/operations.md."""
        # An account may have several stages, so the commands in the mail of an alarm name the alarm's own stack.
        description = description.replace("'assistance ", f"'assistance --stack {self.namespace} ")
        return f"{description} {self.config.runbook_url}#{section.lower()}"
