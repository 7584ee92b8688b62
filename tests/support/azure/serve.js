// Azurite, with the one request of ours that it does not know: Put Block From URL.
"use strict";

const { Readable } = require("node:stream");
const StorageError = require("azurite/dist/src/blob/errors/StorageError").default;
const Handler = require("azurite/dist/src/blob/handlers/BlockBlobHandler").default;

Handler.prototype.stageBlockFromURL = async function (blockId, contentLength, sourceUrl, options, context) {
  // The source is asked as Azure would ask it, so what allows us to copy it is held against it here as well.
  const range = context.request.getHeader("x-ms-source-range");
  const answer = await fetch(sourceUrl, { headers: { "x-ms-version": "2021-12-02", Range: range } });
  const body = Buffer.from(await answer.arrayBuffer());
  if (!answer.ok) {
    throw new StorageError(answer.status, "CannotVerifyCopySource", "The source cannot be read.", context.contextId);
  }
  return this.stageBlock(blockId, body.length, Readable.from([body]), options, context);
};

require("azurite/dist/src/blob/main");
