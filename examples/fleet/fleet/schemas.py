"""The JSON of a bot: what a client sends, and what it gets."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

__all__ = ["BotSchema", "FleetSchema"]


class BotSchema(Schema):
    """A report is ``status`` and ``version``; what is ``dump_only`` comes from the path and the token."""

    name = fields.String(dump_only=True)
    status = fields.String(required=True, validate=validate.OneOf(["idle", "busy", "failing"]))
    version = fields.String(required=True, validate=validate.Length(1, 40))
    reported_by = fields.String(dump_only=True, data_key="reportedBy")
    reported_at = fields.AwareDateTime(dump_only=True, data_key="reportedAt")


class FleetSchema(Schema):
    """The bots by name."""

    bots = fields.List(fields.Nested(BotSchema), required=True)
