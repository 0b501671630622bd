// Node servers with one handler each, which weir protects: prints one line `NAME PORT` per server, then `ready`.
//
// Each responds to /v1/chat/completions, and to every variant of it that its router accepts. NODE_PATH is the
// folder of the modules.
"use strict";
const express = require("express");
const express4 = require("express4");
const Koa = require("koa");
const Router = require("@koa/router");

const PATH = "/v1/chat/completions";
const ANSWER = "answered by the protected handler";

function ofExpress(framework) {
  const app = framework();
  app.all(PATH, (request, response) => response.send(ANSWER));
  return app;
}

function ofKoa() {
  const app = new Koa();
  app.silent = true;
  const router = new Router();
  router.all(PATH, (context) => {
    context.body = ANSWER;
  });
  return app.use(router.routes());
}

const servers = { express: ofExpress(express), express4: ofExpress(express4), koa: ofKoa() };
let waiting = Object.keys(servers).length;
for (const [name, app] of Object.entries(servers)) {
  const server = app.listen(0, "127.0.0.1", () => {
    console.log(name, server.address().port);
    waiting -= 1;
    if (waiting === 0) console.log("ready");
  });
}
// Run until the test ends, even if it is killed.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 500);
