"""The HTTP API: a REST API of API Gateway, with API keys, a usage plan and throttling."""

import json
from collections.abc import Sequence
from typing import Final, cast

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from assistance.routing import Channel
from infra.config import Config
from infra.firewall import Firewall
from infra.linter_exceptions import accept, skip_checkov
from infra.python_function import PythonFunction
from infra.table import Table

# The errors that API Gateway answers without calling the function, in the format of functions/api/problems.py.
# A DEFAULT response covers several statuses, and its template can't contain the actual one, because $context.status
# exists only in access logs. So the member `status` is left out, as RFC 9457 allows.
# A 5xx keeps API Gateway's own status: "API Gateway counts modified gateway response status codes as 4XXError errors",
# so the alarm on 5xx would miss it.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html
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
    (apigateway.ResponseType.INTEGRATION_FAILURE, None, "unavailable", "Service Unavailable", _REPEAT),
    (apigateway.ResponseType.INTEGRATION_TIMEOUT, None, "unavailable", "Service Unavailable", _REPEAT),
    (apigateway.ResponseType.DEFAULT_4_XX, None, "bad-request", "Bad Request", "The request can't be handled."),
    (apigateway.ResponseType.DEFAULT_5_XX, None, "internal-error", "Internal Server Error", "Something went wrong."),
)
# A quota lasts a day, so a bot that has used it up is asked to try again once an hour.
_RETRY_AFTER: Final = {"THROTTLED": 1, "QUOTA_EXCEEDED": 3_600, "INTEGRATION_FAILURE": 2, "INTEGRATION_TIMEOUT": 2}
"""The header Retry-After in seconds, by API Gateway's type of an error response."""

_REFERENCE: Final = ("openapi.json", "docs")
"""Paths that are served without a key: they describe the API, and contain no customer's data."""

_BY_SLACK: Final = ("slack/interactions/POST",)
_BY_LINK: Final = ("take/{token}/GET", "take/{token}/POST")
"""Methods without an API key: their function checks the link's signature instead (for `_BY_SLACK`, Slack's)."""

# The log contains no body, query string, header or actual path, which may hold secrets. The variables of $context:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
_LOGGED: Final = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "traceId": "$context.xrayTraceId",
    "time": "$context.requestTimeEpoch",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "error": "$context.error.responseType",
    "latency": "$context.responseLatency",
    "integrationLatency": "$context.integrationLatency",
    "responseLength": "$context.responseLength",
    "keyId": "$context.identity.apiKeyId",
}


def _limits(config: Config) -> dict[str, apigateway.MethodDeploymentOptions]:
    """Rate limits, by path and method, of methods without a key: anonymous calls can't use up the limit for bots."""
    limits = {f"/{path}/GET": (2, 5) for path in _REFERENCE if config.serve_reference}
    signed = [
        *(_BY_SLACK if config.take and Channel.SLACK in config.deployed else ()),
        *(_BY_LINK if config.linked else ()),
    ]
    limits |= {f"/{method}": (20, 40) for method in signed}
    return {
        method: apigateway.MethodDeploymentOptions(throttling_rate_limit=rate, throttling_burst_limit=burst)
        for method, (rate, burst) in limits.items()
    }


class Api(Construct):
    """The REST API with its methods, the function behind it, and the API keys for bots."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, table: Table) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.function = function = PythonFunction(
            self,
            "Function",
            folder="api",
            config=config,
            traced_with={"api", "all"},
            # Time for three attempts at DynamoDB, each of at most 1 s to connect and 2 s to read, and the delays
            # between.
            timeout=Duration.seconds(15),
            environment={
                "TABLE_NAME": table.table_name,
                "RETENTION_DAYS": str(config.retention_days),
                "ROUTES": config.routes_variable,
                "CALLBACK_LOOPBACK": str(config.local),
            },
            snap_start=config.snap_start,
        )
        table.grant_items(function, "dynamodb:PutItem", "dynamodb:Query")

        log_group = self._access_log(config) if config.access_logs != "off" else None
        self.rest = rest = apigateway.RestApi(
            self,
            "Rest",
            rest_api_name=Stack.of(self).stack_name,
            cloud_watch_role=False,
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # Pass bodies to the function as bytes in Base64. In a text body, API Gateway would replace invalid UTF-8.
            # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-payload-encodings-workflow.html
            binary_media_types=["application/json"],
            deploy_options=apigateway.StageOptions(
                stage_name=config.stage,
                throttling_rate_limit=config.throttle_rate,
                throttling_burst_limit=config.throttle_burst,
                method_options=_limits(config) or None,
                tracing_enabled=config.tracing != "off",
                access_log_destination=apigateway.LogGroupLogDestination(log_group) if log_group else None,
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_LOGGED)) if log_group else None,
            ),
            default_method_options=apigateway.MethodOptions(api_key_required=True),
            default_integration=apigateway.LambdaIntegration(self._called(config), allow_test_invoke=False),
        )
        # The default of a regional API accepts TLS 1.0. BASIC: no check of how a call reached the endpoint.
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies.html
        resource = cast("apigateway.CfnRestApi", rest.node.default_child)
        resource.security_policy, resource.endpoint_access_mode = "SecurityPolicy_TLS13_1_2_2021_06", "BASIC"
        if config.access_logs == "account_role":
            rest.deployment_stage.node.add_dependency(self._account())
        requests = rest.root.add_resource("assistance-requests")
        requests.add_method("POST")
        requests.add_resource("{id}").add_method("GET")
        rest.root.add_resource("health").add_method("GET")
        for path in _REFERENCE if config.serve_reference else ():
            method = rest.root.add_resource(path).add_method("GET", api_key_required=False)
            skip_checkov(method, "CKV_AWS_59", "It describes the API, and contains no customer's data.")
        self._answer_problems(rest)

        plan = rest.add_usage_plan(
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(rate_limit=config.throttle_rate, burst_limit=config.throttle_burst),
            quota=apigateway.QuotaSettings(limit=config.quota_per_day, period=apigateway.Period.DAY)
            if config.quota_per_day
            else None,
        )
        # Deployed stacks have the construct id `Key` for the key with the label 1; another id would replace the key.
        keys = [rest.add_api_key("Key" if label == "1" else f"Key{label}") for label in config.api_keys]
        for key in keys:
            plan.add_api_key(key)
        plan.add_api_stage(stage=rest.deployment_stage)
        if config.waf:
            Firewall(self, "Firewall", config=config, stage=rest.deployment_stage)
        self._explain(rest, config)

        # Remove the output that the CDK adds under a generated name; `ApiUrl` replaces it.
        rest.node.try_remove_child("Endpoint")
        CfnOutput(self, "ApiUrl", value=self.url).override_logical_id("ApiUrl")
        CfnOutput(self, "ApiKeyId", value=keys[-1].key_id).override_logical_id("ApiKeyId")

    @property
    def gateway_url(self) -> str:
        """The API's URL at API Gateway (execute-api), without a slash at the end."""
        return self.rest.url_for_path("/").rstrip("/")

    @property
    def url(self) -> str:
        """The API's URL for bots, without a slash at the end: with the custom domain if there is one."""
        return self._config.domain_url or self.gateway_url

    @property
    def public_url(self) -> str:
        """The API's URL for links in messages, without a slash at the end.

        The URL refers to no resource of an API Gateway stage. So CloudFormation can update the functions that contain
        the URL before the API.
        """
        stack, config = Stack.of(self), self._config
        own = f"https://{self.rest.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}/{config.stage}"
        return config.public_url or config.domain_url or own

    def add_route(self, path: str, methods: Sequence[str], function: lambda_.IFunction, why: str) -> None:
        """Let a function answer calls without an API key. `why` tells checkov how the function verifies callers."""
        resource = self.rest.root.resource_for_path(path)
        for name in methods:
            integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
            method = resource.add_method(name, integration, api_key_required=False)
            skip_checkov(method, "CKV_AWS_59", why)

    def _called(self, config: Config) -> lambda_.IFunction:
        """Return the function to call, or with SnapStart an alias of its newest version: only versions have a snapshot.

        Ids stay unique with snapshots, because their random bits come from the operating system and not from a
        generator whose state a snapshot would copy.
        https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
        """
        if not config.snap_start:
            return self.function
        return lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)

    def _access_log(self, config: Config) -> logs.LogGroup:
        group = logs.LogGroup(self, "AccessLogs", removal_policy=config.removal_policy)
        cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = config.logs_kept_days
        skip_checkov(group, "CKV_AWS_158", "CloudWatch Logs encrypts with its own key; the log holds no bodies.")
        return group

    def _account(self) -> Construct:
        """Create the AWS account's setting that lets API Gateway write logs, and the role for it.

        Both are kept if the stack is deleted, because other APIs of the account may use them.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
        """
        role = iam.Role(
            self,
            "LoggingRole",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonAPIGatewayPushToCloudWatchLogs")
            ],
        )
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        role.apply_removal_policy(RemovalPolicy.RETAIN)
        account.apply_removal_policy(RemovalPolicy.RETAIN)
        accept(
            role,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
            "AmazonAPIGatewayPushToCloudWatchLogs]",
            "The role serves all APIs of the account; AWS prescribes this policy for it.",
        )
        return account

    @staticmethod
    def _explain(rest: apigateway.RestApi, config: Config) -> None:
        """Accept findings of cdk-nag and checkov about the API, with reasons."""
        accept(rest, "AwsSolutions-APIG2", "The function validates every call, and says what is wrong field by field.")
        accept(rest, "AwsSolutions-APIG4", "Callers are our own bots, which send an API key of a usage plan.")
        accept(rest, "AwsSolutions-COG4", "Callers are bots, not people in a user pool.")
        stage = rest.deployment_stage
        accept(stage, "AwsSolutions-APIG6", "Execution logs can contain bodies with customers' texts. See access_logs.")
        skip_checkov(stage, "CKV_AWS_120", "Answers can't be cached: a status changes at any time.")
        if config.access_logs == "off":
            reason = "API Gateway has one logging role per account, so the deployer decides, with access_logs."
            accept(stage, "AwsSolutions-APIG1", reason)
            skip_checkov(stage, "CKV_AWS_76", reason)
        if not config.waf:
            accept(stage, "AwsSolutions-APIG3", "A web ACL costs $5 a month and more: the deployer decides, with waf.")

    @staticmethod
    def _answer_problems(rest: apigateway.RestApi) -> None:
        for kind, status, slug, title, detail in _RESPONSES:
            known = {"status": status} if status else {}
            document = {"type": f"urn:assistance:problem:{slug}", "title": title, **known, "detail": detail}
            seconds = _RETRY_AFTER.get(kind.response_type)
            headers = {"Retry-After": f"'{seconds}'"} if seconds else {}
            rest.add_gateway_response(
                f"Problem{kind.response_type}",
                type=kind,
                status_code=str(status) if status else None,
                response_headers={"Content-Type": "'application/problem+json'", **headers},
                templates={"application/json": json.dumps(document)},
            )
