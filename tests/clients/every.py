"""Python's gql: the schema by introspection, a query that is checked against it, and a subscription."""

import asyncio
import os

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

HEADERS = {"Authorization": "Bearer " + os.environ["TOKEN"], "X-Purpose": "sales_follow_up"}


async def main():
    transport = AIOHTTPTransport(url=os.environ["URL"] + "/graphql", headers=HEADERS, timeout=30)
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        page = await session.execute(gql("{ customers(first: 2, filter: {mine: true}) { nodes { id name phone } } }"))
        assert len(page["customers"]["nodes"]) == 2, page
        one = page["customers"]["nodes"][0]["id"]
        sockets = AIOHTTPWebsocketsTransport(url=os.environ["URL"].replace("http", "ws") + "/graphql/ws", init_payload=HEADERS, subprotocols=["graphql-transport-ws"])
        async with Client(transport=sockets) as live:
            told = live.subscribe(gql('subscription { customerChanged(id: "%s") { id } }' % one))
            heard = asyncio.ensure_future(anext(told))
            await asyncio.sleep(1)
            note = gql('mutation { addContact(customer: "%s", input: {channel: "电话"}) { userErrors { message } } }' % one)
            assert (await session.execute(note))["addContact"]["userErrors"] == []
            assert (await asyncio.wait_for(heard, 20))["customerChanged"]["id"] == one
    print("gql: schema, query, mutation, subscription")


asyncio.run(main())
