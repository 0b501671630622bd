// Servers of Node with one handler each, which weir protects: one line `NAME PORT` a server, then `ready`.
//
// Every one answers /v1/chat/completions, by whatever other spelling its router takes for it. NODE_PATH says
// where the modules lie.
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
// Until the test is over, also where that was killed.
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 500);
