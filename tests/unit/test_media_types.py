"""Media types: stated or guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.media_types import media_type
from drs_service.errors import MediaTypeInvalid


@pytest.mark.parametrize(
    "text",
    [
        "text/plain",
        "Text/HTML;Charset=UTF-8",
        "text/plain; charset=utf-8",
        'text/plain ;\tcharset="utf-8" ; x="a \\"quoted\\"; comma, \t"',
        "text/plain;",
        "text/plain;; a=b ;",
        "application/vnd.ga4gh.bam",
        "application/ld+json",
        "x!#$%&'*+-.^_`|~/*x",
        "multipart/form-data; boundary=xyz",
    ],
)
def test_a_media_type_is_kept_as_written(text: str) -> None:
    assert media_type(text, name="a.bam") == text
    assert media_type(f" \t{text} ", name="a.bam") == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "text",
            "/",
            "text/",
            "/plain",
            "text/plain/x",
            "text plain",
            "text /plain",
            "text/ plain",
            "*/*",
            "text/*",
            "*/plain",
        ),
        *("text/plain charset=utf-8", "text/plain; charset", "text/plain; charset=", "text/plain; charset =utf-8"),
        *("text/plain; a= b", "text/plain; =b", 'text/plain; a="b', 'text/plain; a="b"c', 'text/plain; a="b\\"'),
        *(
            "text/plain, text/html",
            "text/plain\r\nX: y",
            "text/plain\n",
            "text/pl\xe4in",
            "text/plain; a=ä",
            "te\0xt/a",
        ),
        *('text/plain; a="ä"', "text/plain; a=(b)", "text/plain\x0b"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MediaTypeInvalid):
        media_type(text, name="a.bam")


def test_a_media_type_has_255_characters_at_most() -> None:
    longest = "text/" + "x" * 250
    assert media_type(longest, name="a") == longest
    with pytest.raises(MediaTypeInvalid, match="longer than 255"):
        media_type(longest + "x", name="a")


@pytest.mark.parametrize("text", ["text/plain" + ";  " * 80 + "(", 'text/plain; a="' + "\\\\" * 110, "a" * 200 + "/("])
def test_a_malformed_media_type_is_refused_in_one_pass(text: str) -> None:
    with pytest.raises(MediaTypeInvalid):
        media_type(text, name="a")


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", " \t", "application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded"),
        "application/x-www-form-urlencoded; charset=utf-8",
    ],
)
def test_what_says_nothing_leaves_it_to_the_name(text: str | None) -> None:
    assert media_type(text, name="reads.bam") == "application/vnd.ga4gh.bam"


def test_octet_stream_is_kept_when_it_is_stated() -> None:
    assert media_type("application/octet-stream", name="a.json") == "application/octet-stream"


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("a.BAM", "application/vnd.ga4gh.bam"),
        ("a.cram", "application/vnd.ga4gh.cram"),
        ("a.vcf", "application/vnd.ga4gh.vcf"),
        ("a.gff3", "text/gff3; charset=utf-8"),
        ("a.fasta", "text/x-fasta"),
        ("a.fq", "text/x-fastq"),
        ("a.tsv", "text/tab-separated-values"),
        ("a.JSON", "application/json"),
        ("a b.ö.html", "text/html"),
        ("a.js", "text/javascript"),
        ("a.tar", "application/x-tar"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("json", "application/octet-stream"),
        (".json", "application/octet-stream"),
        ("a.bam.bai", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
        ("data:text/html,a", "application/octet-stream"),
    ],
)
def test_a_guess_is_made_from_the_extension(name: str, guess: str) -> None:
    assert media_type(None, name=name) == guess


@pytest.mark.parametrize("name", ["a.gz", "a.vcf.gz", "a.fastq.gz", "a.tar.gz", "a.tgz", "a.vcf.bgz"])
def test_a_compressed_file_is_what_it_was_compressed_with(name: str) -> None:
    assert media_type(None, name=name) == "application/gzip"


@given(st.text(alphabet="abcfgjstvz7.é /", max_size=12))
def test_a_guess_is_a_media_type(name: str) -> None:
    guess = media_type(None, name=name)
    assert media_type(guess, name="a") == guess
