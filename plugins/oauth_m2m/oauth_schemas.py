"""The JSON and the forms of the OAuth endpoints as /openapi.json shows them; `parameters` reads them."""

from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

from station.errors import ResponseError
from station.openapi import ErrorFormat

__all__ = [
    "OAUTH_ERROR",
    "AuthorizationServerSchema",
    "IntrospectionRequestSchema",
    "IntrospectionSchema",
    "JWKSetSchema",
    "ProtectedResourceSchema",
    "RevocationRequestSchema",
    "RevocationSchema",
    "TokenRequestSchema",
    "TokenSchema",
    "WhoAmISchema",
]


class OAuthSchema(Schema):
    """Both sides ignore what they do not know (RFC 6749 3.2, 5.1)."""

    class Meta:
        """No property is forbidden."""

        unknown = EXCLUDE


class OAuthErrorSchema(OAuthSchema):
    """An error (RFC 6749 5.2, RFC 6750 3.1)."""

    error = fields.String(required=True)
    error_description = fields.String()


OAUTH_ERROR = ErrorFormat(ResponseError.content_type, OAuthErrorSchema)


class _ClientCredentialsSchema(OAuthSchema):
    """Credentials in the body, for those who do not send them as HTTP Basic (RFC 6749 2.3.1)."""

    client_id = fields.String()
    client_secret = fields.String()


class TokenRequestSchema(_ClientCredentialsSchema):
    """A token request (RFC 6749 4.4.2)."""

    grant_type = fields.String(required=True, validate=validate.OneOf(["client_credentials"]))
    scope = fields.String()


class TokenSchema(OAuthSchema):
    """A token (RFC 6749 5.1); ``client_secret_expires_at`` tells when the secret that was used ends."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.OneOf(["Bearer"]))
    expires_in = fields.Integer(required=True)
    scope = fields.String(required=True)
    client_secret_expires_at = fields.Integer()


class RevocationRequestSchema(_ClientCredentialsSchema):
    """A token to end (RFC 7009 2.1)."""

    token = fields.String(required=True, validate=validate.Length(min=1))
    token_type_hint = fields.String()


class RevocationSchema(OAuthSchema):
    """Nothing: the status says it all (RFC 7009 2.2)."""


class IntrospectionRequestSchema(RevocationRequestSchema):
    """A token to ask about (RFC 7662 2.1)."""


class IntrospectionSchema(OAuthSchema):
    """``active``, and the rest if it is true (RFC 7662 2.2)."""

    active = fields.Boolean(required=True)
    scope = fields.String()
    client_id = fields.String()
    token_type = fields.String()
    exp = fields.Integer()
    iat = fields.Integer()
    sub = fields.String()
    aud = fields.String()
    iss = fields.String()
    jti = fields.String()


class WhoAmISchema(OAuthSchema):
    """What a client's token says."""

    client_id = fields.String(required=True)
    scopes = fields.List(fields.String(), required=True)
    exp = fields.Integer(required=True)


class AuthorizationServerSchema(OAuthSchema):
    """Authorization server metadata (RFC 8414 2)."""

    issuer = fields.URL(required=True)
    token_endpoint = fields.URL(required=True)
    token_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    revocation_endpoint = fields.URL(required=True)
    revocation_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    introspection_endpoint = fields.URL(required=True)
    introspection_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    jwks_uri = fields.URL(required=True)
    response_types_supported = fields.List(fields.String(), required=True)
    grant_types_supported = fields.List(fields.String(), required=True)
    scopes_supported = fields.List(fields.String())


class ProtectedResourceSchema(OAuthSchema):
    """Protected resource metadata (RFC 9728 2)."""

    resource = fields.URL(required=True)
    authorization_servers = fields.List(fields.URL(), required=True)
    jwks_uri = fields.URL(required=True)
    bearer_methods_supported = fields.List(fields.String(), required=True)
    scopes_supported = fields.List(fields.String())


class JWKSchema(OAuthSchema):
    """A public key (RFC 7517 4); its other members depend on ``kty``."""

    kty = fields.String(required=True)
    use = fields.String()
    alg = fields.String()
    kid = fields.String()


class JWKSetSchema(OAuthSchema):
    """Public keys (RFC 7517 5)."""

    keys = fields.List(fields.Nested(JWKSchema), required=True)
