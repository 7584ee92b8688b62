"""Uploads by tuspy as it is: python upload.py ENDPOINT FILE URLS. Prints each offset that the service has told."""

import sys

from tusclient.client import TusClient
from tusclient.fingerprint.fingerprint import Fingerprint
from tusclient.storage.filestorage import FileStorage

CHUNK = 1_000_000


def upload(endpoint: str, file: str, urls: str) -> None:
    storage = FileStorage(urls)
    uploader = TusClient(endpoint).uploader(
        file,
        chunk_size=CHUNK,
        metadata={"filename": "reads.bam"},
        upload_checksum=True,
        store_url=True,
        url_storage=storage,
        fingerprinter=Fingerprint(),
    )
    print(uploader.offset, flush=True)
    while uploader.offset < uploader.get_file_size():
        uploader.upload_chunk()
        print(uploader.offset, flush=True)
    print(uploader.url)
    storage.close()


if __name__ == "__main__":
    upload(*sys.argv[1:])
