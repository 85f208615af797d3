"""Descriptions of a service for other programs: OpenAPI (`servey.schema.openapi`)."""
