"""The GraphQL schema of a service, as data (`servey.schema.graphql.model`), without a GraphQL library."""
