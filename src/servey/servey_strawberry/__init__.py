"""GraphQL: the same actions as one schema, made by Strawberry, executed by graphql-core, served by Starlette."""
