// Each client asks the same of the server, unmodified: a page, a refusal that it can read, a subscription where it has them.
import assert from "node:assert/strict";
import { ApolloClient, HttpLink, InMemoryCache } from "@apollo/client/core/index.js";
import { Client as Urql, fetchExchange } from "@urql/core";
import { serverAudits } from "graphql-http";
import { GraphQLClient, ClientError } from "graphql-request";
import { createClient as createSse } from "graphql-sse";
import { createClient as createWs } from "graphql-ws";
import WebSocket from "ws";
import { Customer360Document, ChangedDocument, MineDocument, NoteContactDocument } from "./made/sales.js";
import { print } from "graphql";

const url = process.env.URL + "/graphql";
const headers = { Authorization: "Bearer " + process.env.TOKEN, "X-Purpose": "sales_follow_up" };
const said = (line: string) => console.log(line);

const request = new GraphQLClient(url, { headers });
const mine = (await request.request(MineDocument)).customers.nodes;
assert(mine.length > 1);
const id = mine[0].id;
await assert.rejects(request.request("{ nothing }"), (error) => error instanceof ClientError && error.response.errors![0].extensions!.code === "GRAPHQL_VALIDATION_FAILED");
said("graphql-request: a page, a refusal");

const apollo = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache: new InMemoryCache() });
const whole = await apollo.query({ query: Customer360Document, variables: { id } });
assert.equal(whole.data!.customer!.number, mine[0].number);
const again = await apollo.query({ query: Customer360Document, variables: { id }, fetchPolicy: "cache-only" });
assert.deepEqual(again.data, whole.data, "what it normalised and cached is what it was given");
const noted = await apollo.mutate({ mutation: NoteContactDocument, variables: { id, result: "Apollo" } });
assert.deepEqual(noted.data!.addContact.userErrors, []);
const nobody = await apollo.mutate({ mutation: NoteContactDocument, variables: { id: "nobody", result: "x" } });
assert.equal(nobody.data!.addContact.userErrors[0].code, "NOT_FOUND");
await assert.rejects(apollo.query({ query: MineDocument, context: { headers: { Authorization: "Bearer nobody" } }, fetchPolicy: "network-only" }));
said("Apollo Client: the 360, its cache, a mutation, a refusal");

const urql = new Urql({ url, exchanges: [fetchExchange], fetchOptions: { headers }, preferGetMethod: false });
const page = await urql.query(MineDocument, {}).toPromise();
assert.equal(page.error, undefined);
assert.equal(page.data!.customers.nodes[0].id, id);
const byGet = new Urql({ url, exchanges: [fetchExchange], fetchOptions: { headers: { ...headers, "GraphQL-Require-Preflight": "1" } }, preferGetMethod: "force" });
assert.equal((await byGet.query(MineDocument, {}).toPromise()).data!.customers.nodes[0].id, id);
said("urql: a page, by POST and by GET");

// Whoever follows hears of what is noted then.
async function hears(name: string, events: AsyncIterable<{ data?: unknown }>, result: string) {
  const heard = (async () => {
    for await (const { data } of events) {
      // What was noted a moment before it began may come first.
      if ((data as { customerChanged: { contacts: { nodes: { result: string }[] } } }).customerChanged.contacts.nodes[0].result === result) return;
    }
  })();
  await new Promise((go) => setTimeout(go, 1000));
  await request.request(NoteContactDocument, { id, result });
  await Promise.race([heard, new Promise((_, late) => setTimeout(() => late(new Error(name + ": nothing was told")), 20_000))]);
  said(name + ": a subscription");
}

class WithHeaders extends WebSocket {
  constructor(address: string | URL, protocols?: string | string[]) {
    super(address, protocols, { headers });
  }
}
const ws = createWs({ url: url.replace("http", "ws") + "/ws", webSocketImpl: WithHeaders, connectionParams: headers });
await hears("graphql-ws", ws.iterate({ query: print(ChangedDocument), variables: { id } }), "graphql-ws");
await ws.dispose();
const sse = createSse({ url: url + "/stream", headers });
await hears("graphql-sse", sse.iterate({ query: print(ChangedDocument), variables: { id } }), "graphql-sse");
sse.dispose();

// What the newer release of the specification replaced, or leaves to the server: docs/api.md says which.
const REPLACED = new Set(["47DE", "80D8", "572B", "FDE2", "7B9B", "86EE"]);
const audits = serverAudits({ url, fetchFn: (at: string, options?: RequestInit) => fetch(at, { ...options, headers: { ...options?.headers, ...headers } }) });
const failed: string[] = [];
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status === "error" || (result.status === "warn" && !REPLACED.has(audit.id))) failed.push(`${audit.id} ${audit.name}: ${result.reason}`);
}
assert.deepEqual(failed, []);
said(`graphql-http: ${audits.length} audits`);
process.exit(0);
