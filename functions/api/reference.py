"""The API's reference for people: the OpenAPI document, and Swagger UI, whose files are part of Powertools.

https://docs.powertools.aws.dev/lambda/python/latest/core/event_handler/api_gateway/#enabling-swaggerui
"""

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from assistance.routing import routes, topics

SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE: Final = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Assistance requests: API</title>
<style>{style}</style>
<div id="reference"></div>
<script>{script}</script>
<script>
  // API Gateway also serves this page as `/docs/`.
  const url = location.pathname.replace(/docs\/?$/, "openapi.json");
  SwaggerUIBundle({{url, dom_id: "#reference", persistAuthorization: false, tryItOutEnabled: true}});
</script>
"""


@cache
def document() -> str:
    """The OpenAPI document with this deployment's topics. The server in it is the address from which it is fetched."""
    text = Path(__file__).with_name("openapi.json").read_text("utf-8")
    # `infra/openapi.py` has written the file with the default routes.
    text = text.replace('"topic": "sales"', f'"topic": "{next(iter(routes()))}"')
    text = text.replace("'sales' or 'pricing'", topics())
    document = json.loads(text)
    document["components"]["schemas"]["Call"]["properties"]["topic"]["enum"] = list(routes())
    return json.dumps(document | {"servers": [{"url": "."}]}, ensure_ascii=False)


@cache
def page() -> str:
    """Swagger UI as one HTML page that contains its script and style sheet. It loads only the OpenAPI document."""
    files = resources.files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
    style, script = (files.joinpath(f"swagger-ui{end}").read_text("utf-8") for end in (".min.css", "-bundle.min.js"))
    return _PAGE.format(style=style, script=script)
