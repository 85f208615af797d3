"""Programs that other people make read the tour's document, and their clients call the tour."""

import json
import sys
from pathlib import Path

from openapi_spec_validator import validate

STRICT = ["--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--skipLibCheck", "false"]
ARGV = "declare const process: { argv: string[] };\n"


def test_openapi_spec_validator_accepts_both_versions(document, document_30):
    validate(json.loads(document.read_text()))
    validate(json.loads(document_30.read_text()))


def test_redocly_finds_no_error_in_either_version(document, document_30, node):
    for path in (document, document_30):
        found = json.loads(node("redocly", "lint", "--format=json", path, cwd=path.parent, REDOCLY_TELEMETRY="off"))
        assert found["totals"]["errors"] == 0
        # what a service does not know of itself
        assert {item["ruleId"] for item in found["problems"]} <= {"info-license", "tag-description"}


def test_spectral_finds_no_error_in_either_version(document, document_30, node, tmp_path):
    (tmp_path / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    for path in (document, document_30):
        out = tmp_path / "found.json"
        node("spectral", "lint", path, "-r", tmp_path / "rules.yaml", "-f", "json", "-o", out, cwd=tmp_path)
        found = json.loads(out.read_text())
        # what a service does not know of itself, and docstrings of one line
        expected = {"info-contact", "info-description", "operation-description", "operation-tags"}
        assert {item["code"] for item in found} <= expected, found


def test_openapi_typescript_makes_types_for_a_client_that_calls_the_tour(document, node, tools, tour, tmp_path):
    # what has a default may be left out
    options = ["--default-non-nullable=false", "-o", tmp_path / "schema.d.ts"]
    node("openapi-typescript", document, *options, cwd=tmp_path)
    (tmp_path / "node_modules").symlink_to(tools.parent)
    (tmp_path / "client.mts").write_text(
        """
import createClient from "openapi-fetch";
import type { paths, components } from "./schema.d.ts";

const client = createClient<paths>({ baseUrl: process.argv[2] });
const greeted = await client.GET("/actions/say-hello", { params: { query: { name: "TypeScript" } } });
const greeting: string | undefined = greeted.data;
const recipient: components["schemas"]["AddressInput"] = { name: "A", street: "B", postcode: "C", city: "D" };
const registered = await client.POST("/parcels", { body: { recipient, weight: "1.2", depot: "VIE" } });
const missing = await client.GET("/parcels/{id}", { params: { path: { id: "P-9999" } } });
const problem: components["schemas"]["Problem"] | undefined = missing.error;
console.log(JSON.stringify([greeting, registered.response.status, problem?.code]));
// @ts-expect-error there is no such parameter
await client.GET("/actions/say-hello", { params: { query: { nme: "x" } } });
"""
    )
    check = [*STRICT, "--noEmit", "--allowImportingTsExtensions", "--module", "nodenext"]
    node("tsc", *check, "client.mts", cwd=tmp_path)
    answer = node(tmp_path / "client.mts", tour, cwd=tmp_path, NODE_NO_WARNINGS="1")
    assert json.loads(answer) == ["Hello TypeScript!", 201, "not_found"]


def test_hey_api_makes_a_client_that_calls_the_tour(document, node, root_token, tour, tmp_path):
    plugins = ["@hey-api/typescript", "@hey-api/sdk", "@hey-api/client-fetch"]
    made = node("openapi-ts", "-i", document, "-o", "parcels", "-p", *plugins, "--no-log-file", cwd=tmp_path)
    assert "warn" not in made.lower(), made
    (tmp_path / "process.d.ts").write_text(ARGV)
    (tmp_path / "main.ts").write_text(
        """
import { getDepot, putDepot, sayHello, type Depot } from "./parcels";
import { client } from "./parcels/client.gen";

async function main(): Promise<void> {
  client.setConfig({ baseUrl: process.argv[2], auth: () => process.argv[3] });
  const greeted = await sayHello({ query: { name: "Hey" } });
  const put = await putDepot({ path: { code: "GRZ" }, body: { city: "Graz", capacity: 5 } });
  const found = await getDepot({ path: { code: "GRZ" } });
  const depot: Depot | undefined = found.data;
  console.log(JSON.stringify([greeted.data, put.response?.status, depot]));
}
main();
"""
    )
    made_of = [*STRICT, "--module", "commonjs", "--moduleResolution", "node10", "--outDir", "out"]
    node("tsc", *made_of, "main.ts", "process.d.ts", cwd=tmp_path)
    answer = node(tmp_path / "out" / "main.js", tour, root_token, cwd=tmp_path)
    assert json.loads(answer) == ["Hello Hey!", 201, {"code": "GRZ", "city": "Graz", "capacity": 5}]


def test_openapi_python_client_makes_a_client_without_a_warning_that_calls_the_tour(document, call, tour, tmp_path):
    program = Path(sys.executable).with_name("openapi-python-client")
    output = ["--meta", "none", "--output-path", "parcels", "--fail-on-warning"]
    made = call([program, "generate", "--path", document, *output], tmp_path)
    assert made.strip() == "Generating parcels"
    (tmp_path / "main.py").write_text(
        """
import sys
from parcels import Client
from parcels.api.hello import say_hello
from parcels.api.parcels import get_parcel, register_parcel
from parcels.models import AddressInput, RegisterParcelBody

client = Client(base_url=sys.argv[1])
print(say_hello.sync(client=client, name="Python"))
address = AddressInput(name="A", street="B", postcode="C", city="D")
body = RegisterParcelBody(recipient=address, weight="1.2", depot="VIE")
made = register_parcel.sync_detailed(client=client, body=body, idempotency_key="the-key-of-one-parcel")
again = register_parcel.sync_detailed(client=client, body=body, idempotency_key="the-key-of-one-parcel")
print(made.parsed == again.parsed, again.headers["idempotent-replayed"])
print(int(made.status_code), get_parcel.sync(client=client, id=made.parsed.id).recipient.country)
print(get_parcel.sync(client=client, id="P-9999").code)
"""
    )
    answer = call([sys.executable, "main.py", tour], tmp_path)
    assert answer.splitlines() == ["Hello Python!", "True true", "201 DE", "not_found"]
