"""The HTTP API: REST, with a key, a usage plan and throttling."""

import json
from typing import Final

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_apigateway as apigateway
from constructs import Construct

from infra.config import Config
from infra.python_function import PythonFunction
from infra.table import Table

# What API Gateway answers by itself, in the words of functions/api/problems.py. A default stands for several statuses,
# and its template can't name the one at hand: $context.status is for access logs. RFC 9457 lets it be left out.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
_REPEAT: Final = "The request can't be handled now. Repeat it, with the same Idempotency-Key, after a while."
_RESPONSES: Final = (
    (apigateway.ResponseType.ACCESS_DENIED, 403, "forbidden", "Forbidden", "Access is denied."),
    (apigateway.ResponseType.INVALID_API_KEY, 403, "forbidden", "Forbidden", "Send a valid key in x-api-key."),
    (apigateway.ResponseType.MISSING_AUTHENTICATION_TOKEN, 404, "not-found", "Not Found", "There is no such resource."),
    (apigateway.ResponseType.RESOURCE_NOT_FOUND, 404, "not-found", "Not Found", "There is no such resource."),
    (apigateway.ResponseType.REQUEST_TOO_LARGE, 413, "content-too-large", "Content Too Large", "Too large a body."),
    (apigateway.ResponseType.THROTTLED, 429, "too-many-requests", "Too Many Requests", "Slow down, then repeat."),
    (apigateway.ResponseType.QUOTA_EXCEEDED, 429, "too-many-requests", "Too Many Requests", "The quota is used up."),
    (apigateway.ResponseType.INTEGRATION_FAILURE, 503, "unavailable", "Service Unavailable", _REPEAT),
    (apigateway.ResponseType.INTEGRATION_TIMEOUT, 503, "unavailable", "Service Unavailable", _REPEAT),
    (apigateway.ResponseType.DEFAULT_4_XX, None, "bad-request", "Bad Request", "The request can't be handled."),
    (apigateway.ResponseType.DEFAULT_5_XX, None, "internal-error", "Internal Server Error", "Something went wrong."),
)
_RETRY_AFTER: Final = {429: 1, 503: 2}
"""Seconds, by status."""


class Api(Construct):
    """The routes, their function, and the key that lets a bot in."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table) -> None:
        super().__init__(scope, construct_id)
        self.function = function = PythonFunction(
            self,
            "Function",
            folder="api",
            config=config,
            # Three tries at the table, of 1 s to connect and 2 s to read at most, and the back-off between them.
            timeout=Duration.seconds(15),
            environment={"TABLE_NAME": table.table_name, "RETENTION_DAYS": str(config.retention_days)},
        )
        table.grant_items(function, "dynamodb:PutItem", "dynamodb:Query")

        self.rest = rest = apigateway.RestApi(
            self,
            "Rest",
            rest_api_name=Stack.of(self).stack_name,
            cloud_watch_role=False,
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            deploy_options=apigateway.StageOptions(
                stage_name=config.stage,
                throttling_rate_limit=config.throttle_rate,
                throttling_burst_limit=config.throttle_burst,
            ),
            default_method_options=apigateway.MethodOptions(api_key_required=True),
            default_integration=apigateway.LambdaIntegration(function, allow_test_invoke=False),
        )
        requests = rest.root.add_resource("assistance-requests")
        requests.add_method("POST")
        requests.add_resource("{id}").add_method("GET")
        rest.root.add_resource("health").add_method("GET")
        self._answer_problems(rest)

        key = rest.add_api_key("Key")
        plan = rest.add_usage_plan(
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(rate_limit=config.throttle_rate, burst_limit=config.throttle_burst),
        )
        plan.add_api_key(key)
        plan.add_api_stage(stage=rest.deployment_stage)

        # The construct's own output, under a generated name.
        rest.node.try_remove_child("Endpoint")
        CfnOutput(self, "ApiUrl", value=rest.url_for_path("/").rstrip("/")).override_logical_id("ApiUrl")
        CfnOutput(self, "ApiKeyId", value=key.key_id).override_logical_id("ApiKeyId")

    @staticmethod
    def _answer_problems(rest: apigateway.RestApi) -> None:
        for kind, status, slug, title, detail in _RESPONSES:
            known = {"status": status} if status else {}
            document = {"type": f"urn:assistance:problem:{slug}", "title": title, **known, "detail": detail}
            headers = {"Retry-After": f"'{_RETRY_AFTER[status]}'"} if status in _RETRY_AFTER else {}
            rest.add_gateway_response(
                f"Problem{kind.response_type}",
                type=kind,
                status_code=str(status) if status else None,
                response_headers={"Content-Type": "'application/problem+json'", **headers},
                templates={"application/json": json.dumps(document)},
            )
