// Sends streaming requests with OpenAI's client for Node: node.cjs ADDRESS COUNT RETRIES
//
// Prints the text of each response on one line.
"use strict";

const { OpenAI } = require("openai");

const [address, count, retries] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "sk-test", maxRetries: Number(retries) });

async function ask(number) {
    const stream = await client.chat.completions.create({
        model: "glm-4",
        messages: [{ role: "user", content: `question ${number}` }],
        stream: true,
    });
    let text = "";
    for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? "";
    }
    return text;
}

async function main() {
    for (let number = 0; number < Number(count); number += 1) {
        console.log(await ask(number));
    }
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
