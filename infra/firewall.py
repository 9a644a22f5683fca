"""The optional web ACL of the API: `-c waf=true`."""

import json

from aws_cdk import Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from infra.config import Config
from infra.linter_exceptions import skip_checkov

_WINDOW_SECONDS = 60
# The limit is twice the throttle, because calls that the usage plan refuses count too, and a throttled bot repeats
# them.
_TOLERANCE = 2


class Firewall(Construct):
    """Refuses IP addresses on AWS's reputation list, and addresses that call far more often than the throttle allows.

    No rule inspects the body. The body is free text, in which a customer may quote an attack to ask about it, and all
    programs escape it before they show it. So AWS's core rule set and its rule set for known bad inputs are left out.
    They would refuse a body with such a quote, any body over 8 KB, and attacks on software that this project does not
    use. WAF inspects only the first 16 KB of a body anyway, and the API accepts 64 KiB.
    https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
    https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-setting-body-inspection-limit.html

    WAF's logs and sampled requests are off, because both would contain the headers with the API key.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, stage: apigateway.Stage) -> None:
        super().__init__(scope, construct_id)
        # This response replaces the API's own for 429. Its media type can't be application/problem+json:
        # https://docs.aws.amazon.com/waf/latest/developerguide/customizing-the-response-for-blocked-requests.html
        acl = wafv2.CfnWebACL(
            self,
            "Acl",
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=self._visible("Acl"),
            custom_response_bodies={
                "TooMany": wafv2.CfnWebACL.CustomResponseBodyProperty(
                    content_type="APPLICATION_JSON",
                    content=json.dumps(
                        {
                            "type": "urn:assistance:problem:too-many-requests",
                            "title": "Too Many Requests",
                            "status": 429,
                            "detail": "Slow down, then repeat.",
                        }
                    ),
                )
            },
            rules=[
                self._rate(0, _TOLERANCE * _WINDOW_SECONDS * config.throttle_rate),
                self._managed(1, "AWSManagedRulesAmazonIpReputationList"),
            ],
        )
        skip_checkov(acl, "CKV_AWS_192", "Nothing here runs Java, and a customer may ask about Log4j.")
        skip_checkov(acl, "CKV2_AWS_31", "The logs would hold the API key.")
        wafv2.CfnWebACLAssociation(self, "Association", resource_arn=stage.stage_arn, web_acl_arn=acl.attr_arn)

    def _rate(self, priority: int, limit: int) -> wafv2.CfnWebACL.RuleProperty:
        """A rule that answers 429 to an address after `limit` calls a minute. WAF's 403 would suggest a wrong key."""
        return wafv2.CfnWebACL.RuleProperty(
            name="Rate",
            priority=priority,
            statement=wafv2.CfnWebACL.StatementProperty(
                rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                    aggregate_key_type="IP", evaluation_window_sec=_WINDOW_SECONDS, limit=limit
                )
            ),
            action=wafv2.CfnWebACL.RuleActionProperty(
                block=wafv2.CfnWebACL.BlockActionProperty(
                    custom_response=wafv2.CfnWebACL.CustomResponseProperty(
                        response_code=429,
                        custom_response_body_key="TooMany",
                        response_headers=[
                            wafv2.CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value=str(_WINDOW_SECONDS))
                        ],
                    )
                )
            ),
            visibility_config=self._visible("Rate"),
        )

    def _managed(self, priority: int, name: str) -> wafv2.CfnWebACL.RuleProperty:
        return wafv2.CfnWebACL.RuleProperty(
            name=name,
            priority=priority,
            statement=wafv2.CfnWebACL.StatementProperty(
                managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                    vendor_name="AWS", name=name
                )
            ),
            override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
            visibility_config=self._visible(name),
        )

    def _visible(self, name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
        return wafv2.CfnWebACL.VisibilityConfigProperty(
            cloud_watch_metrics_enabled=True,
            metric_name=f"{Stack.of(self).stack_name}-{name}",
            sampled_requests_enabled=False,
        )
