"""``GET /openapi.json``: every route as OpenAPI 3.1, made at the start from what the code says anyway.

Paths come from the routes, demands and their refusals from `station.security`, texts from docstrings. A
method adds by `describe` what it takes and what it answers::

    class FleetHandler(BaseHandler):
        @client_authenticated
        @scopes("fleet:write")
        @describe(body=BotSchema, responses={201: BotSchema}, errors=(409,))
        async def post(self): ...

A method that describes nothing is in the document too, without its bodies.
"""

from station.openapi.declaration import PROBLEM, ErrorFormat, Response, describe

__all__ = ["PROBLEM", "ErrorFormat", "Response", "describe"]
