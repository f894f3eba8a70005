"""The official client for Python on one journey: connect, list, call, be refused, ask, be approved, call again.

    python client.py <URL of /mcp> <token> <auto|legacy>

Each step is a line of JSON on standard output. Where a person has to decide, it waits for a line on standard input.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client


def say(**step):
    print(json.dumps(step), flush=True)


async def opened(context, params):
    say(ask=params.url, message=params.message)
    await asyncio.to_thread(sys.stdin.readline)
    return types.ElicitResult(action="accept")


async def journey(url, token, mode):
    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=60)
    transport = streamable_http_client(url, http_client=http)
    async with Client(transport, mode=mode, elicitation_callback=opened) as client:
        say(server=client.server_info.name, instructions=client.instructions)
        tools = await client.list_tools()
        say(tools=[tool.name for tool in tools.tools])
        whoami = await client.call_tool("whoami", {})
        say(whoami=whoami.structured_content, isError=whoami.is_error)
        absent = await client.call_tool("agents_get", {"agent": "nobody"})
        say(refused=absent.structured_content, isError=absent.is_error, text=absent.content[0].text)
        listed = await client.call_tool("agents_list", {})
        say(listed=listed.structured_content, isError=listed.is_error)
        resources = await client.list_resources()
        page = await client.read_resource("accredit://manual/agents/errors")
        say(resources=len(resources.resources), page=page.contents[0].text[:20])
        prompts = await client.list_prompts()
        prompt = await client.get_prompt("who_am_i")
        say(prompts=[one.name for one in prompts.prompts], prompt=prompt.messages[0].content.text)
        if mode != "legacy":
            async with client.listen(tools_list_changed=True) as subscription:
                say(listening=True)
                async for _ in subscription:
                    say(told=True)
                    break
    say(done=True)


asyncio.run(journey(*sys.argv[1:]))
