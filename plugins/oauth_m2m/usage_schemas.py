"""The JSON of usage and hints, camelCase: what is asked for, and what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import EXCLUDE, Schema, fields, validate

from plugins.oauth_m2m import client_fields
from plugins.oauth_m2m.schemas import timestamp

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Hint, Usage
    from plugins.oauth_m2m.usage import UsageReport

__all__ = ["UsageQuerySchema", "UsageSchema", "hint_json", "usage_json"]

_MAX_HOURS = 3650 * 24


class UsageQuerySchema(Schema):
    """The query of ``GET /oauth-clients/{clientId}/usage``."""

    hours = client_fields.Digits(validate=validate.Range(1, _MAX_HOURS), load_default=24)


class _AnswerSchema(Schema):
    class Meta:
        unknown = EXCLUDE


class TotalSchema(_AnswerSchema):
    """Numbers: ``refused`` by endpoint as the audit calls it, and by reason."""

    issued = fields.Integer(required=True)
    calls = fields.Integer(required=True)
    introspections = fields.Integer(required=True)
    refused = fields.Dict(
        keys=fields.String(), values=fields.Dict(keys=fields.String(), values=fields.Integer()), required=True
    )


class PeriodSchema(TotalSchema):
    """The numbers of the period that begins ``at``."""

    at = fields.AwareDateTime(required=True)


class HintSchema(_AnswerSchema):
    """A client that fetches a token for (nearly) every call, in the last hour."""

    client_id = fields.String(required=True, data_key="clientId")
    issued = fields.Integer(required=True)
    uses = fields.Integer(required=True)
    uses_per_token = fields.Float(required=True, data_key="usesPerToken")
    advice = fields.String(required=True)


class UsageSchema(_AnswerSchema):
    """What a client did from ``since`` to ``until``, in periods of ``step`` seconds, oldest first."""

    client_id = fields.String(required=True, data_key="clientId")
    since = fields.AwareDateTime(required=True)
    until = fields.AwareDateTime(required=True)
    step = fields.Integer(required=True)
    total = fields.Nested(TotalSchema, required=True)
    periods = fields.List(fields.Nested(PeriodSchema), required=True)
    hint = fields.Nested(HintSchema, required=True, allow_none=True)


def usage_json(report: UsageReport) -> dict[str, object]:
    """A report as programs read it."""
    return {
        "since": timestamp(report.since),
        "until": timestamp(report.until),
        "step": report.step,
        "total": _numbers(report.total),
        "periods": [{"at": timestamp(period.at), **_numbers(period)} for period in report.periods],
    }


def hint_json(hint: Hint) -> dict[str, object]:
    """A hint as programs read it."""
    return {
        "clientId": hint.client_id,
        "issued": hint.issued,
        "uses": hint.uses,
        "usesPerToken": round(hint.ratio, 2),
        "advice": hint.advice,
    }


def _numbers(usage: Usage) -> dict[str, object]:
    return {
        "issued": usage.issued,
        "calls": usage.calls,
        "introspections": usage.introspections,
        "refused": {endpoint: dict(counted) for endpoint, counted in usage.refused.items()},
    }
