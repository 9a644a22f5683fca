"""An optional custom domain of the API, so that the API's URL stays the same if the API is replaced."""

from typing import cast

from aws_cdk import CfnOutput
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from constructs import Construct

from infra.api import Api
from infra.config import Config


class Domain(Construct):
    """The domain name, and the base path mapping from the domain to the API.

    Both are resources outside of the API. If CloudFormation replaces the API, it updates the mapping without
    interruption.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-apigateway-basepathmapping.html
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, api: Api) -> None:
        super().__init__(scope, construct_id)
        name = apigateway.DomainName(
            self,
            "Name",
            domain_name=cast("str", config.domain_name),
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", cast("str", config.certificate_arn)),
            endpoint_type=apigateway.EndpointType.REGIONAL,
            security_policy=apigateway.SecurityPolicy.TLS_1_2,
        )
        apigateway.BasePathMapping(self, "Mapping", domain_name=name, rest_api=api.rest, base_path=config.base_path)
        # The target for an alias record in Route 53, or for a CNAME at another DNS provider:
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-regional-api-custom-domain-create.html
        CfnOutput(self, "Target", value=name.domain_name_alias_domain_name).override_logical_id("DomainTarget")
        zone = name.domain_name_alias_hosted_zone_id
        CfnOutput(self, "HostedZoneId", value=zone).override_logical_id("DomainHostedZoneId")
        CfnOutput(self, "GatewayUrl", value=api.gateway_url).override_logical_id("ApiGatewayUrl")
