"""The API's reference for people: its OpenAPI document, and Swagger UI around it.

Imported only when it is asked for: no bot's call pays for it. Swagger UI's files are those that Powertools carries.
https://docs.powertools.aws.dev/lambda/python/latest/core/event_handler/api_gateway/#enabling-swaggerui
"""

import json
from functools import cache
from importlib import resources
from typing import Final

from api import openapi

_FILES: Final = "aws_lambda_powertools.event_handler.openapi.swagger_ui"
SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Assistance requests: API</title>
<style>{style}</style>
<div id="reference"></div>
<script>{script}</script>
<script>
  SwaggerUIBundle({{url: "openapi.json", dom_id: "#reference", persistAuthorization: false, tryItOutEnabled: true}});
</script>
"""


@cache
def document() -> str:
    """The OpenAPI document, which is about the address that it was fetched from."""
    return json.dumps({**openapi.document(), "servers": [{"url": "."}]}, ensure_ascii=False)


@cache
def page() -> str:
    """Swagger UI, in one piece: it loads nothing from anywhere else."""
    files = resources.files(_FILES)
    style, script = (files.joinpath(f"swagger-ui{end}").read_text("utf-8") for end in (".min.css", "-bundle.min.js"))
    return _PAGE.format(style=style, script=script)
