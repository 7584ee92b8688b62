"""Media types: the one that was stated, or a guess from the file's name."""

import re

from drs_service.errors import MediaTypeInvalid

MAX_CHARACTERS = 255
UNKNOWN = "application/octet-stream"

_TCHARS = r"[A-Za-z0-9!#$%&'*+.^_`|~-]++"  # RFC 9110 §5.6.2: token
_QUOTED_STRING = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*+"'  # RFC 9110 §5.6.4, without obs-text
# RFC 9110 §8.3.1 and §5.6.6: parameters = *( OWS ";" OWS [ parameter ] ). `*` alone is a range of types (§12.5.1).
_MEDIA_TYPE = re.compile(
    rf"(?P<essence>(?!\*/){_TCHARS}/(?!\*(?:[ \t;]|\Z)){_TCHARS})"
    rf"(?:[ \t]*+;[ \t]*+(?:{_TCHARS}=(?:{_TCHARS}|{_QUOTED_STRING}))?+)*+"
)

# curl --data-binary says so unasked, whatever the file is.
_SAID_UNASKED = "application/x-www-form-urlencoded"


def media_type(text: str | None, *, name: str) -> str:
    """The media type stated in text, as written, or else a guess from the extension of name.

    MediaTypeInvalid if text is not a media type.
    """
    stated = (text or "").strip(" \t")
    if not stated:
        return _guess(name)
    if len(stated) > MAX_CHARACTERS:
        raise MediaTypeInvalid(f"The Content-Type is longer than {MAX_CHARACTERS} characters.")
    match = _MEDIA_TYPE.fullmatch(stated)
    if match is None:
        raise MediaTypeInvalid
    return _guess(name) if match["essence"].lower() == _SAID_UNASKED else stated


def _guess(name: str) -> str:
    # Only the last extension counts: reads.fastq.gz is a gzip file, and is served as one, not as an encoded FASTQ.
    stem, _, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension.lower(), UNKNOWN) if stem else UNKNOWN


# Our own table, not the standard library's: that one differs between versions of Python, reads the machine's files on
# its way up, and takes a .vcf for a business card.
_EXTENSIONS = {
    # Genomics. IANA knows text/gff3 alone, and requires its charset. The vnd.ga4gh types are unregistered
    # (https://github.com/samtools/hts-specs/issues/407), but the htsget specification writes those of BAM and VCF, and
    # htsget servers that of CRAM. Ensembl, UniProt and the PDB send text/x-fasta. For lines of text that have no type
    # of their own, text/plain is true; formats that are neither are left out (BCF, BigWig, indexes).
    "application/vnd.ga4gh.bam": "bam",
    "application/vnd.ga4gh.cram": "cram",
    "application/vnd.ga4gh.vcf": "vcf",
    "text/gff3; charset=utf-8": "gff3",
    "text/x-fasta": "fa faa fasta ffn fna",
    "text/x-fastq": "fastq fq",
    # Text
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "htm html",
    "text/javascript": "js mjs",
    "text/markdown": "markdown md",
    "text/plain": "bed bedgraph gff gtf log sam txt wig",
    "text/tab-separated-values": "tsv",
    "text/x-python": "py",
    # Data
    "application/dicom": "dcm",
    "application/json": "json",
    "application/geo+json": "geojson",
    "application/ld+json": "jsonld",
    "application/sql": "sql",
    "application/vnd.apache.arrow.file": "arrow",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/wasm": "wasm",
    "application/x-hdf5": "h5 h5ad hdf5",
    "application/x-ipynb+json": "ipynb",
    "application/x-ndjson": "jsonl ndjson",
    "application/x-netcdf": "nc",
    "application/xml": "xml xsd",
    "application/yaml": "yaml yml",
    # Archives and compressed files
    "application/gzip": "bgz gz tgz",
    "application/java-archive": "jar",
    "application/vnd.rar": "rar",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-tar": "tar",
    "application/x-xz": "xz",
    "application/zip": "zip",
    "application/zstd": "zst",
    # Documents
    "application/epub+zip": "epub",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/postscript": "eps ps",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    # Pictures, sound, film
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/ogg": "oga ogg opus",
    "audio/wav": "wav",
    "font/woff2": "woff2",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/jpeg": "jpeg jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg mpg",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-msvideo": "avi",
}
_BY_EXTENSION = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()}
