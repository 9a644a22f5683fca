"""Tests the API behind a custom domain with any base path."""

import json
from typing import Any

import pytest

from tests.integration.cloud import Cloud, http_event


@pytest.mark.parametrize("base", ["", "/v1", "/v1/nested", "/assistance-requests"])
def test_every_api_route_works_behind_a_base_path_of_a_custom_domain(stack: Cloud, base: str) -> None:
    def call(method: str, resource: str, path: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
        event = http_event(method, path, body, Content_Type="application/json")
        # As in the event of aws-powertools/powertools-lambda-python#579.
        event |= {"resource": resource, "path": base + path}
        event["requestContext"] |= {"resourcePath": resource, "path": base + path, "domainName": "api.example.org"}
        answer = stack.handler("api")(event, stack.context)
        return answer["statusCode"], json.loads(answer["body"])

    assert call("GET", "/health", "/health")[0] == 200
    status, accepted = call(
        "POST", "/assistance-requests", "/assistance-requests", '{"topic": "sales", "description": "x"}'
    )
    assert status == 202
    assert call("GET", "/assistance-requests/{id}", f"/assistance-requests/{accepted['id']}")[0] == 200
    assert call("GET", "/openapi.json", "/openapi.json")[0] == 200
