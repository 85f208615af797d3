"""Programs that other people make read the GraphQL schema, and their clients call what is served at ``/graphql``."""

import json
from pathlib import Path

import httpx
import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXTransport
from graphql import (
    GraphQLError,
    build_client_schema,
    build_schema,
    get_introspection_query,
    lexicographic_sort_schema,
    print_schema,
    validate_schema,
)

from .conftest import SCRIPTS, TOUR, call, served

NOTICES = '''
"""A service with what a client may trip over: an enum, a union that comes in, a nested action, an error."""

from dataclasses import dataclass
from enum import Enum

from servey import WEB_GET, WEB_POST, NotFoundError
from servey.action.action import action


class Urgency(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass
class ByMail:
    address: str


@dataclass
class ByPhone:
    number: str


@dataclass
class Notice:
    id: int
    text: str
    urgency: Urgency
    reached: str

    @action
    async def shouted(self, times: int = 1) -> str:
        """Say it louder."""
        return self.text.upper() + "!" * times


NOTICES = [Notice(1, "Closed on Monday", Urgency.LOW, "ada@example.com")]


@action(triggers=(WEB_GET,))
async def notice(id: int) -> Notice:
    """Show a notice."""
    for found in NOTICES:
        if found.id == id:
            return found
    raise NotFoundError(f"there is no notice {id}")


@action(triggers=(WEB_POST,))
async def notify(text: str, to: ByMail | ByPhone, urgency: Urgency = Urgency.LOW) -> Notice:
    """Tell somebody something."""
    made = Notice(len(NOTICES) + 1, text, urgency, to.address if isinstance(to, ByMail) else to.number)
    NOTICES.append(made)
    return made
'''


@pytest.fixture(scope="session")
def notices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the service `NOTICES`, and its schema."""
    project = tmp_path_factory.mktemp("notices")
    (project / "actions.py").write_text(NOTICES)
    call([SCRIPTS / "servey", "graphql-schema", "-o", "schema.graphql"], project)
    return project


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tour's schema, as the command writes it."""
    path = tmp_path_factory.mktemp("schema") / "tour.graphql"
    call([SCRIPTS / "servey", "graphql-schema", "-o", path], TOUR)
    return path


def client(url: str, token: str = "") -> Client:
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return Client(transport=HTTPXTransport(f"{url}/graphql", headers=headers), fetch_schema_from_transport=True)


# --- the endpoint ---------------------------------------------------------------------------------------------------


def test_all_server_audits_of_graphql_over_http_pass_in_development(node, tools, tour, tmp_path):
    (tmp_path / "node_modules").symlink_to(tools.parent)
    (tmp_path / "audit.mjs").write_text(
        """
import { auditServer } from "graphql-http";

const audits = await auditServer({ url: process.argv[2] });
console.log(JSON.stringify(audits.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
"""
    )
    audits = json.loads(node(tmp_path / "audit.mjs", f"{tour}/graphql", cwd=tmp_path))
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == 61


# --- the schema -----------------------------------------------------------------------------------------------------


def test_the_schema_is_the_same_to_the_byte_in_every_process(call, notices, tmp_path):
    for project in (TOUR, notices):
        written = []
        for seed in ("1", "4321"):
            path = tmp_path / f"{seed}.graphql"
            call([SCRIPTS / "servey", "graphql-schema", "-o", path], project, PYTHONHASHSEED=seed)
            written.append(path.read_bytes())
        assert written[0] == written[1]


def test_graphql_core_reads_the_schema_as_what_introspection_tells(schema, tour):
    read = build_schema(schema.read_text())
    assert validate_schema(read) == []
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    told = build_client_schema(client(tour).execute(gql(query)))
    assert print_schema(lexicographic_sort_schema(read)) == print_schema(lexicographic_sort_schema(told))


def test_graphql_js_reads_the_schemas_as_what_introspection_tells(node, tools, notices, schema, tour, tmp_path):
    (tmp_path / "node_modules").symlink_to(tools.parent)
    (tmp_path / "read.mjs").write_text(
        """
import { readFileSync } from "node:fs";
import {
  buildClientSchema, buildSchema, getIntrospectionQuery, lexicographicSortSchema, printSchema, validateSchema,
} from "graphql";

const sorted = (schema) => printSchema(lexicographicSortSchema(schema));
const read = buildSchema(readFileSync(process.argv[2], "utf8"));
const query = getIntrospectionQuery({
  specifiedByUrl: true, directiveIsRepeatable: true, schemaDescription: true, inputValueDeprecation: true, oneOf: true,
});
const answer = await fetch(process.argv[3] + "/graphql", {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ query }),
});
const told = buildClientSchema((await answer.json()).data);
console.log(JSON.stringify([validateSchema(read), validateSchema(told), sorted(read), sorted(told)]));
"""
    )
    with served(tmp_path / "notices", notices) as url:
        for path, where in ((schema, tour), (notices / "schema.graphql", url)):
            problems, others, read, told = json.loads(node(tmp_path / "read.mjs", path, where, cwd=tmp_path))
            assert (problems, others) == ([], [])
            assert read == told


# --- Python ---------------------------------------------------------------------------------------------------------


def test_gql_queries_the_tour_and_changes_it(tour):
    calling = client(tour)
    greeted = calling.execute(gql('{ sayHello(name: "gql") numberStats(value: 21) { value factorial } }'))
    assert greeted == {"sayHello": "Hello gql!", "numberStats": {"value": 21, "factorial": 51090942171709440000}}
    register = gql(
        """
        mutation ($recipient: AddressInput!, $weight: Decimal!, $handling: [Handling!]) {
          registerParcel(recipient: $recipient, weight: $weight, depot: "VIE", handling: $handling) { id price }
        }
        """
    )
    register.variable_values = {
        "recipient": {"name": "A", "street": "B", "postcode": "1010", "city": "Wien", "country": "AT"},
        "weight": "1.2",
        "handling": ["FRAGILE", "COOL"],
    }
    made = calling.execute(register)["registerParcel"]
    show = gql(
        """
        query ($id: String!) {
          getParcel(id: $id) { id state handling recipient { city country } history { depot state } }
        }
        """
    )
    show.variable_values = {"id": made["id"]}
    assert calling.execute(show) == {
        "getParcel": {
            "id": made["id"],
            "state": "REGISTERED",
            "handling": ["FRAGILE", "COOL"],
            "recipient": {"city": "Wien", "country": "AT"},
            "history": [{"depot": "VIE", "state": "REGISTERED"}],
        }
    }


def test_gql_finds_by_the_schema_what_is_wrong_with_a_document_before_it_is_sent(tour):
    with client(tour) as session, pytest.raises(GraphQLError) as found:
        session.execute(gql("{ sayHello(nme: 1) }"))
    assert not isinstance(found.value, TransportQueryError)


def test_gql_is_told_of_errors_by_their_codes(tour, root_token):
    with pytest.raises(TransportQueryError) as found:
        client(tour).execute(gql('{ getParcel(id: "P-9999") { id } }'))
    (error,) = found.value.errors
    assert (error["path"], error["extensions"]["code"], error["extensions"]["status"]) == (
        ["getParcel"],
        "not_found",
        404,
    )
    with pytest.raises(TransportQueryError) as found:
        client(tour).execute(gql("{ onlyForRoot }"))
    assert [error["extensions"]["code"] for error in found.value.errors] == ["unauthorized"]
    assert client(tour, root_token).execute(gql("{ onlyForRoot }")) == {"onlyForRoot": "Some Secret Data!"}


# --- TypeScript -----------------------------------------------------------------------------------------------------

OPERATIONS = """
import { graphql } from "./gql";

export const Notify = graphql(/* GraphQL */ `
  mutation Notify($text: String!, $to: ByMailOrByPhoneInput!, $urgency: Urgency) {
    notify(text: $text, to: $to, urgency: $urgency) { ...Shown reached }
  }
`);

export const Show = graphql(/* GraphQL */ `
  query Show($id: Int!, $times: Int! = 2) { notice(id: $id) { ...Shown shouted(times: $times) } }
`);

export const Shown = graphql(/* GraphQL */ `
  fragment Shown on Notice { id text urgency }
`);
"""

MAIN = """
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";
import { useFragment } from "./gql";
import type { ByMailOrByPhoneInput, NotifyMutation, ShowQuery, Urgency } from "./gql/graphql";
import { Notify, Show, Shown } from "./operations";

interface Answer<Result> {
  data?: Result | null;
  errors?: { message: string; path?: (string | number)[]; extensions: { code: string; status: number } }[];
}

const [, , url, persisted] = process.argv;

async function call<Result, Variables>(
  document: TypedDocumentNode<Result, Variables>, variables: Variables,
): Promise<Answer<Result>> {
  const hash = (document as { __meta__?: { hash: string } }).__meta__?.hash;
  const named = persisted === "persisted" ? { documentId: hash } : { query: print(document) };
  const answer = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json" },
    body: JSON.stringify({ ...named, variables }),
  });
  return (await answer.json()) as Answer<Result>;
}

async function main(): Promise<void> {
  const to: ByMailOrByPhoneInput = { byPhone: { number: "+43 1" } };
  const made: Answer<NotifyMutation> = await call(Notify, { text: "Open again", to, urgency: "HIGH" });
  const notice = useFragment(Shown, made.data?.notify);
  const shown: Answer<ShowQuery> = await call(Show, { id: notice?.id ?? 0 });
  const missing = await call(Show, { id: 99 });
  const error = missing.errors?.[0];
  const shouted: string | undefined = shown.data?.notice.shouted;
  const told = [notice?.id, notice?.text, notice?.urgency, made.data?.notify.reached, shouted];
  console.log(JSON.stringify([...told, error?.path, error?.extensions.code]));
  // @ts-expect-error one of the two, and not both
  const both: ByMailOrByPhoneInput = { byMail: { address: "a@b" }, byPhone: { number: "1" } };
  // @ts-expect-error there is no such urgency
  const wrong: Urgency = "URGENT";
  void [both, wrong];
}
void main();
"""

STRICT = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2022,dom,dom.iterable"]


@pytest.fixture(scope="session")
def generated(node, tools, notices, tmp_path_factory) -> Path:
    """A client that graphql-codegen has made from the schema and from the documents of `OPERATIONS`."""
    project = tmp_path_factory.mktemp("generated")
    (project / "node_modules").symlink_to(tools.parent)
    (project / "operations.ts").write_text(OPERATIONS)
    (project / "main.ts").write_text(MAIN)
    preset = {
        "preset": "client",
        "presetConfig": {"persistedDocuments": {"hashAlgorithm": "sha256"}},
        "config": {"strictScalars": True, "scalars": {"BigInt": "number", "JSON": "unknown"}},
    }
    (project / "codegen.json").write_text(
        json.dumps(
            {
                "schema": str(notices / "schema.graphql"),
                "documents": ["operations.ts"],
                "generates": {"./gql/": preset},
            }
        )
    )
    node("graphql-codegen", "--config", "codegen.json", cwd=project)
    modules = ["--module", "commonjs", "--moduleResolution", "node10", "--outDir", "out"]
    node("tsc", *STRICT, *modules, "main.ts", cwd=project)
    return project


EXPECTED = [2, "Open again", "HIGH", "+43 1", "OPEN AGAIN!!", ["notice"], "not_found"]


def test_a_client_of_graphql_codegen_queries_and_changes(generated, node, notices, tmp_path):
    with served(tmp_path / "notices", notices) as url:
        assert json.loads(node(generated / "out" / "main.js", url, "sent", cwd=tmp_path)) == EXPECTED


def test_a_client_of_graphql_codegen_names_its_persisted_documents_where_nothing_else_is_executed(
    generated, node, notices, tmp_path
):
    manifest = generated / "gql" / "persisted-documents.json"
    settings = {"SERVEY_GRAPHQL_DOCUMENTS": str(manifest), "SERVEY_GRAPHQL_ONLY_DOCUMENTS": "true"}
    with served(tmp_path / "notices", notices, **settings) as url:
        assert json.loads(node(generated / "out" / "main.js", url, "persisted", cwd=tmp_path)) == EXPECTED
        for query in ("{ __typename }", *json.loads(manifest.read_text()).values()):
            with httpx.Client() as other:
                told = other.post(f"{url}/graphql", json={"query": query}).json()
            assert [error["extensions"]["code"] for error in told["errors"]] == ["persisted_query_not_found"]
