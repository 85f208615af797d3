"""GraphQL: the same actions as one schema. Strawberry makes it, graphql-core executes it, Starlette serves it."""
