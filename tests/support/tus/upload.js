// Uploads by tus-js-client as it is: node upload.js HOW ENDPOINT FILE DIRECTORY. Prints what came of it, as JSON.
'use strict'

const fs = require('node:fs')
const path = require('node:path')
const { Readable } = require('node:stream')
const tus = require('tus-js-client')

const [how, endpoint, file, directory] = process.argv.slice(2)
const CHUNK = 3_000_000
const metadata = { filename: path.basename(file), filetype: 'application/vnd.ga4gh.bam' }
const requests = []
const watching = {
  onBeforeRequest: (request) => {
    const deferred = request.getHeader('Upload-Defer-Length') ? ', length deferred' : ''
    requests.push(request.getMethod() + deferred)
  },
}

// What uploads `source`, and tells its URL; `after` bytes it is aborted, if that is asked for.
function uploaded(source, options, { after, resume } = {}) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(source, {
      endpoint,
      metadata,
      retryDelays: null,
      ...watching,
      onSuccess: ({ lastResponse }) =>
        resolve({
          url: upload.url,
          object: lastResponse.getHeader('Content-Location'),
          body: lastResponse.getBody(),
        }),
      onError: reject,
      onChunkComplete: (_, accepted) => {
        if (after !== undefined && accepted >= after) upload.abort().then(() => resolve({ url: upload.url, accepted }))
      },
      ...options,
    })
    if (!resume) return upload.start()
    upload.findPreviousUploads().then((previous) => {
      upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    })
  })
}

async function resumed(open, options) {
  const storage = () => new tus.FileUrlStorage(path.join(directory, 'urls.json'))
  const first = await uploaded(open(), { ...options, urlStorage: storage(), chunkSize: CHUNK }, { after: 2 * CHUNK })
  requests.push('aborted')
  const second = await uploaded(open(), { ...options, urlStorage: storage(), chunkSize: CHUNK }, { resume: true })
  if (first.url !== second.url) throw new Error(`${first.url} is not ${second.url}`)
  return second
}

const WAYS = {
  parallel: () => uploaded(fs.createReadStream(file), { parallelUploads: 4 }),
  resumed: () => resumed(() => fs.createReadStream(file), {}),
  deferred: () => {
    const pieces = Readable.from(fs.createReadStream(file, { highWaterMark: CHUNK }))
    return uploaded(pieces, { uploadLengthDeferred: true, chunkSize: CHUNK })
  },
  draft: () => {
    const headers = { 'Content-Disposition': `inline; filename="${metadata.filename}"` }
    // Of a file that it reads in chunks it does not see the end, and never says that the upload is complete.
    return resumed(() => fs.readFileSync(file), { protocol: 'ietf-draft-05', headers })
  },
}

WAYS[how]().then(
  (result) => console.log(JSON.stringify({ ...result, requests })),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
