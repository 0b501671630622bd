"""Sends streaming requests with a real client: python.py CLIENT ADDRESS COUNT

Prints the text of each response on one line. CLIENT is openai, openai-async, openai-responses or anthropic.
"""

import asyncio
import sys

MODEL = "glm-4"
# How many requests of an asynchronous client are in flight at once.
AT_ONCE = 10


def question(number):
    return [{"role": "user", "content": f"question {number}"}]


def openai(address, count):
    from openai import OpenAI

    client = OpenAI(base_url=f"{address}/v1", api_key="sk-test", max_retries=0)
    for number in range(count):
        stream = client.chat.completions.create(model=MODEL, messages=question(number), stream=True)
        yield "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def openai_async(address, count):
    from openai import AsyncOpenAI

    async def ask(client, gate, number):
        async with gate:
            stream = await client.chat.completions.create(
                model=MODEL, messages=question(number), stream=True
            )
            return "".join(
                [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            )

    async def ask_all():
        gate = asyncio.Semaphore(AT_ONCE)
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key="sk-test", max_retries=0) as client:
            return await asyncio.gather(*(ask(client, gate, number) for number in range(count)))

    yield from asyncio.run(ask_all())


def openai_responses(address, count):
    from openai import OpenAI

    client = OpenAI(base_url=f"{address}/v1", api_key="sk-test", max_retries=0)
    for number in range(count):
        stream = client.responses.create(
            model=MODEL, input=f"question {number}", stream=True, store=False
        )
        yield "".join(
            event.delta for event in stream if event.type == "response.output_text.delta"
        )


def anthropic(address, count):
    from anthropic import Anthropic

    client = Anthropic(base_url=address, api_key="sk-test", max_retries=0)
    for number in range(count):
        stream = client.messages.create(
            model=MODEL, max_tokens=64, messages=question(number), stream=True
        )
        yield "".join(event.delta.text for event in stream if event.type == "content_block_delta")


CLIENTS = {
    "openai": openai,
    "openai-async": openai_async,
    "openai-responses": openai_responses,
    "anthropic": anthropic,
}

if __name__ == "__main__":
    _, client, address, count = sys.argv
    for text in CLIENTS[client](address, int(count)):
        print(text)
