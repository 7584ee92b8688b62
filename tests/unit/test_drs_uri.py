"""DRS URIs of both forms."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.drs_uri import (
    MAX_CHARACTERS,
    CompactUri,
    HostnameUri,
    Prefix,
    UrlTemplate,
    parse_drs_uri,
    url_template,
)
from drs_service.domain.object_ids import new_object_id, self_uri
from drs_service.errors import DrsUriMalformed

UUID = "d7428364-7bab-4126-8162-0b9b549b649e"

labels = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?", fullmatch=True)
hostnames = st.lists(labels, min_size=1, max_size=5).map(".".join)
codes = st.text(string.ascii_letters + string.digits + "_.", min_size=1, max_size=20)


def stays_in_its_segment(name: str) -> bool:
    return name.isprintable() and {".", ".."}.isdisjoint(name.replace("\\", "/").split("/"))


names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=60).filter(
    stays_in_its_segment
)
accessions = names.filter(lambda name: " " not in name)


@given(hostnames, names)
def test_a_hostname_based_uri_is_read_as_it_was_written(hostname: str, object_id: str) -> None:
    uri = HostnameUri(hostname, object_id)
    assert parse_drs_uri(str(uri)) == uri
    assert str(uri).isascii()
    assert ":" not in str(uri).removeprefix("drs://")


@given(st.none() | codes, codes, accessions)
def test_a_compact_uri_is_read_as_it_was_written(provider: str | None, namespace: str, accession: str) -> None:
    uri = CompactUri(provider, namespace, accession)
    assert parse_drs_uri(str(uri)) == uri


@given(hostnames, names)
def test_the_url_of_an_object_keeps_its_id_in_one_segment(hostname: str, object_id: str) -> None:
    start, slash, end = HostnameUri(hostname, object_id).objects_url().rpartition("/")
    assert start + slash == f"https://{hostname}/ga4gh/drs/v1/objects/"
    assert set(end) <= set(string.ascii_letters + string.digits + "-._~%")


@given(st.text(max_size=60), st.sampled_from(["", "drs://", "drs://host/", "drs://a:", "drs://a/b:", "DRS://"]))
def test_any_text_is_a_uri_or_malformed(text: str, start: str) -> None:
    try:
        uri = parse_drs_uri(start + text)
    except DrsUriMalformed as error:
        assert str(error)
    else:
        assert parse_drs_uri(str(uri)) == uri


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_self_uri_of_ours_is_read(milliseconds: int, random: bytes) -> None:
    object_id = new_object_id(milliseconds, random)
    text = self_uri("drs.example.org", object_id)
    assert parse_drs_uri(text) == HostnameUri("drs.example.org", object_id)
    assert str(parse_drs_uri(text)) == text


@pytest.mark.parametrize(
    ("text", "hostname", "object_id", "url"),
    [
        ("drs://drs.example.org/314159", "drs.example.org", "314159", "https://drs.example.org/ga4gh/drs/v1/objects/314159"),
        ("drs://localhost/a%2Fb%3Ac", "localhost", "a/b:c", "https://localhost/ga4gh/drs/v1/objects/a%2Fb%3Ac"),
        ("drs://h/%C3%A9%20%25", "h", "é %", "https://h/ga4gh/drs/v1/objects/%C3%A9%20%25"),
        ("drs://h/a+b", "h", "a+b", "https://h/ga4gh/drs/v1/objects/a%2Bb"),
        ("DRS://H/a", "H", "a", "https://H/ga4gh/drs/v1/objects/a"),
    ],
)  # fmt: skip
def test_hostname_based(text: str, hostname: str, object_id: str, url: str) -> None:
    uri = parse_drs_uri(text)
    assert uri == HostnameUri(hostname, object_id)
    assert isinstance(uri, HostnameUri)
    assert uri.objects_url() == url


def test_a_slash_that_was_not_encoded_is_part_of_the_id() -> None:
    # The self_uri of a Gen3 server.
    uri = parse_drs_uri(f"drs://gen3.theanvil.io/dg.ANV0/{UUID}")
    assert uri == HostnameUri("gen3.theanvil.io", f"dg.ANV0/{UUID}")
    assert str(uri) == f"drs://gen3.theanvil.io/dg.ANV0%2F{UUID}"


@pytest.mark.parametrize(
    ("text", "provider", "namespace", "accession"),
    [
        ("drs://drs.42:314159", None, "drs.42", "314159"),
        (f"drs://dg.ANV0:dg.ANV0/{UUID}", None, "dg.ANV0", f"dg.ANV0/{UUID}"),
        ("drs://doi:10.5072/FK2805660V", None, "doi", "10.5072/FK2805660V"),
        ("drs://ark:47881/m6g15z54", None, "ark", "47881/m6g15z54"),
        ("drs://a:b:c/d:e", None, "a", "b:c/d:e"),
        ("drs://a:/b:c", None, "a", "/b:c"),
        ("drs://epmc/pubmed:16333295", "epmc", "pubmed", "16333295"),
        ("drs://a:%2F%zz?#é", None, "a", "%2F%zz?#é"),
    ],
)
def test_compact(text: str, provider: str | None, namespace: str, accession: str) -> None:
    assert parse_drs_uri(text) == CompactUri(provider, namespace, accession)
    assert str(parse_drs_uri(text)) == text


def test_prefixes_are_compared_in_lower_case() -> None:
    uri = CompactUri("CorrDB", "dg.ANV0", "A")
    assert uri.prefix == CompactUri("corrdb", "DG.anv0", "B").prefix == Prefix("corrdb", "dg.anv0")
    assert str(uri.prefix) == "corrdb/dg.anv0"
    assert str(CompactUri(None, "a.B", "x").prefix) == "a.b"


@pytest.mark.parametrize(
    ("text", "perhaps"),
    [
        ("drs://host:8080/id", True),
        ("drs://drs.example.org:443/id", True),
        ("drs://localhost:8000", True),
        ("drs://ark:47881/m6g15z54", True),
        ("drs://ark:478810/m6g15z54", False),
        ("drs://doi:10.5072/FK2805660V", False),
        ("drs://epmc/pubmed:16333295/1", False),
        ("drs://epmc/pubmed:1633", False),
        (f"drs://dg.4503:{UUID}", False),
    ],
)
def test_what_looks_like_a_port_is_an_accession_nevertheless(text: str, perhaps: bool) -> None:
    uri = parse_drs_uri(text)
    assert isinstance(uri, CompactUri)
    assert uri.perhaps_a_port is perhaps


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with drs://"),
        ("drs:/a/b", "begins with drs://"),
        ("https://a/b", "begins with drs://"),
        (" drs://a/b", "begins with drs://"),
        ("drs://", "without a colon"),
        ("drs://a", "without a colon"),
        ("drs://a/", "without a colon"),
        ("drs:///a", "not a hostname"),
        ("drs://u@h/a", "not a hostname"),
        ("drs://-h/a", "not a hostname"),
        ("drs://h-/a", "not a hostname"),
        ("drs://a..b/c", "not a hostname"),
        ("drs://a./c", "not a hostname"),
        ("drs://a%2Eb/c", "not a hostname"),
        ("drs://bücher.example/a", "not a hostname"),
        (f"drs://{'a' * 64}/a", "not a hostname"),
        (f"drs://{'a.' * 127}a/a", "not a hostname"),
        ("drs://h/a?version=1", "nothing after it"),
        ("drs://h/a#b", "nothing after it"),
        ("drs://h/a b", "nothing after it"),
        ("drs://h/a%2", "nothing after it"),
        ("drs://h/é", "nothing after it"),
        ("drs://h/a\n", "nothing after it"),
        ("drs://h\n/a", "not a hostname"),
        ("drs://h/%ff", "not UTF-8"),
        ("drs://h/a%00b", "does not print"),
        ("drs://h/a%0Ab", "does not print"),
        ("drs://h/%E2%80%AEa", "does not print"),
        ("drs://h/..", "directory"),
        ("drs://h/%2e%2E", "directory"),
        ("drs://h/a%2F..%2Fb", "directory"),
        ("drs://h/a/../b", "directory"),
        ("drs://h/a%5C..%5Cb", "directory"),
        ("drs://:a", "with a colon"),
        ("drs:///a:b", "with a colon"),
        ("drs://a/:b", "with a colon"),
        ("drs://a/b/c:d", "with a colon"),
        ("drs://[::1]/a", "with a colon"),
        ("drs://my-host:8080/a", "has no port"),
        ("drs://h/a-b:c", "is written %3A"),
        ("drs://é:a", "with a colon"),
        ("drs://a\n:b", "with a colon"),
        ("drs://\u0661:b", "with a colon"),
        ("drs://a:", "names no object"),
        ("drs://a:b\n", "does not print"),
        ("drs://a:b\0", "does not print"),
        ("drs://a:\ud800", "does not print"),
        ("drs://a:b\u2028c", "does not print"),
        ("drs://a:b c", "space"),
        ("drs://a:..", "directory"),
        ("drs://a:../b", "directory"),
        ("drs://a:" + "b" * 100_000, "longer than 2048"),
        ("drs://h/" + "%" * 100_000, "longer than 2048"),
        ("drs://" + "a." * 50_000, "longer than 2048"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_says_why(text: str, says: str) -> None:
    with pytest.raises(DrsUriMalformed, match=says) as caught:
        parse_drs_uri(text)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_the_longest_uri_is_read() -> None:
    text = "drs://a:" + "b" * (MAX_CHARACTERS - 8)
    assert str(parse_drs_uri(text)) == text


def test_values_are_held_to_the_same() -> None:
    with pytest.raises(DrsUriMalformed):
        HostnameUri("host:443", "a")
    with pytest.raises(DrsUriMalformed):
        CompactUri("a/b", "c", "d")
    with pytest.raises(DrsUriMalformed):
        CompactUri("", "c", "d")


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("https://drs.example.org/ga4gh/drs/v1/objects/{$id}", ("https://drs.example.org/ga4gh/drs/v1/objects/", "")),
        ("https://drs.example.org/ga4gh/drs/v1/objects/$id", ("https://drs.example.org/ga4gh/drs/v1/objects/", "")),
        ("https://n2t.example:8443/${content}", ("https://n2t.example:8443/", "")),
        ("https://a.example/objects/syn{$id}?v=1", ("https://a.example/objects/syn", "?v=1")),
    ],
)  # fmt: skip
def test_a_template_of_a_registry(text: str, template: tuple[str, str]) -> None:
    assert url_template(text) == UrlTemplate(*template)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://a.example/",
        "http://a.example/{$id}",
        "ftp://a.example/{$id}",
        "https://{$id}.example/",
        "https://a.example{$id}",
        "https://{$id}/a",
        "https://u@a.example/{$id}",
        "https://a.example/{$id}/{$id}",
        "https://a.example/${value}/{$id}",
        "https://a.example/$identifier",
        "https://a.example/#{$id}",
        "https://a.example/{$id}\n",
        "https://a.example/ {$id}",
        "https://é.example/{$id}",
    ],
)
def test_a_template_that_cannot_be_trusted_is_none(text: str) -> None:
    assert url_template(text) is None


@given(accessions)
def test_an_accession_stays_in_its_place(accession: str) -> None:
    url = UrlTemplate("https://a.example/o/", "/end").url(accession)
    middle = url.removeprefix("https://a.example/o/").removesuffix("/end")
    assert set(middle) <= set(string.ascii_letters + string.digits + "-._~%")


def test_an_accession_is_encoded_whole() -> None:
    template = UrlTemplate("https://a.example/o/", "")
    assert template.url(f"dg.ANV0/{UUID}") == f"https://a.example/o/dg.ANV0%2F{UUID}"
    assert template.url("a:b%2F?#é") == "https://a.example/o/a%3Ab%252F%3F%23%C3%A9"
