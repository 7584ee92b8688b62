"""File names: refused, spelled portably, and put in a header."""

import re
import unicodedata
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drs_service.domain.names import FileName, content_disposition, file_name, form_file_name, name_in_disposition
from drs_service.errors import NameInvalid

# Of every code point, and more often of those that mean something in a name.
characters = st.integers(0, 0x10FFFF).map(chr) | st.sampled_from("..--__/\\ ae1\"%'*\u0301\u2025\uff0e\uff0d\n")
any_text = st.text(alphabet=characters, max_size=40)
names = any_text.map(lambda text: re.sub(r"[\0-\x1f\x7f-\x9f/\ud800-\udfff]", "", text)).filter(
    lambda text: text not in ("", ".", "..")
)


@pytest.mark.parametrize("text", ["a", "reads.fastq.gz", "A__b--c..d", ".hidden", "a-", "...", "_", "0" * 255, "_-x"])
def test_a_portable_name_stays_as_it_is(text: str) -> None:
    assert file_name(text) == FileName(original=text, portable=text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (".", "means a directory"),
        ("..", "means a directory"),
        ("a/b", r"slash, U\+002F at character 2"),
        ("/", "slash"),
        ("a\0b", r"control character, U\+0000 at character 2"),
        ("a\r\nb", r"control character, U\+000D at character 2"),
        ("a\x1f", "control character"),
        ("a\x7f", r"control character, U\+007F"),
        ("a\x85", r"control character, U\+0085"),
        ("a\ud800", r"surrogate pair, U\+D800 at character 2"),
        ("\udcff", "surrogate pair"),
        ("a" * 256, "longer than 255 characters"),
        ("a" * 100_000, "longer than 255 characters"),
        ("\u0915\u093c" * 128, "longer than 255 characters"),
        ("🧬" * 256, "longer than 255 characters"),
    ],
)
def test_what_cannot_be_a_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NameInvalid, match=reason):
        file_name(text)


def test_the_reason_repeats_nothing_of_the_name() -> None:
    with pytest.raises(NameInvalid) as refusal:
        file_name("secret\x1b[31m")
    assert str(refusal.value).isprintable()
    assert "secret" not in str(refusal.value)


def test_a_name_of_255_characters_is_taken_however_it_is_composed() -> None:
    composed = "\u1f82" * 255
    assert file_name(composed).original == composed
    assert file_name(unicodedata.normalize("NFD", composed)).original == composed


def test_a_name_of_255_characters_is_taken_however_many_bytes_they_are() -> None:
    assert len(file_name("🧬" * 255).original.encode()) == 1020


def test_the_original_is_kept_in_nfc() -> None:
    assert file_name("re\u0301sume\u0301.txt").original == "résumé.txt"


@pytest.mark.parametrize(
    ("text", "portable"),
    [
        ("résumé.txt", "resume.txt"),
        ("Ångström.csv", "Angstrom.csv"),
        ("Straße.txt", "Stra_e.txt"),
        ("my file.txt", "my_file.txt"),
        ("a & b  (final).txt", "a_b_final_.txt"),
        ("a _ b", "a_b"),
        ("back\\slash", "back_slash"),
        ("a:;<=>?@[]^b", "a_b"),
        ("ﬁle①.txt", "file1.txt"),
        ("🧬🧬.bam", "_.bam"),
        ("🧬", "_"),
        ("ゲノム.vcf", "_.vcf"),
        ("1\ufe0f\u20e3.txt", "1.txt"),
        ("\u0301", "_"),
        ("-rf", "_rf"),
        ("--rf", "_-rf"),
        ("-", "_"),
        ("\uff0drf", "_rf"),
        ("\uff0e\uff0e", "_"),
        ("\u2025", "_"),
        ("\u2024", "_"),
        ("a\uff0fb", "a_b"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        (" ", "_"),
    ],
)
def test_every_name_has_a_portable_spelling(text: str, portable: str) -> None:
    assert file_name(text).portable == portable


def test_a_portable_spelling_that_grows_too_long_keeps_its_extension() -> None:
    portable = file_name("\u33c2" * 250 + ".bam").portable  # one character that NFKD writes as a.m.
    assert len(portable) == 255
    assert portable.endswith("a.m..bam")


@given(names)
def test_the_portable_spelling_is_portable_and_stable(text: str) -> None:
    name = file_name(text)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,255}", name.portable)
    assert not name.portable.startswith("-")
    assert name.portable not in (".", "..")
    assert (name.portable == name.original) == bool(re.fullmatch(r"(?!-)[A-Za-z0-9._-]+", name.original))
    assert file_name(name.portable) == FileName(original=name.portable, portable=name.portable)
    assert file_name(name.original) == name


@given(any_text)
def test_a_name_is_taken_or_refused_and_nothing_else(text: str) -> None:
    try:
        name = file_name(text)
    except NameInvalid:
        return
    assert "/" not in name.original
    assert name.original.encode().decode() == name.original


@pytest.mark.parametrize("portable", ["", ".", "..", "-a", "a b", 'a"', "a/b", "a\n", "é"])
def test_a_portable_spelling_cannot_be_made_of_anything_else(portable: str) -> None:
    with pytest.raises(ValueError, match="not a portable file name"):
        FileName(original="a", portable=portable)


@pytest.mark.parametrize(
    "text", ["x.txt", "C:\\dir\\x.txt", "/tmp/x.txt", "..\\../x.txt", "dir\\sub/x.txt", "../../x.txt"]
)
def test_a_form_s_file_name_loses_its_path(text: str) -> None:
    assert form_file_name(text).original == "x.txt"


@pytest.mark.parametrize("text", ["", "dir/", "C:\\", "/", "a/.."])
def test_a_form_s_path_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        form_file_name(text)


def test_a_portable_name_needs_no_extended_parameter() -> None:
    assert content_disposition(file_name("reads.bam")) == 'attachment; filename="reads.bam"'


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("é €.txt", "attachment; filename=\"e_.txt\"; filename*=UTF-8''%C3%A9%20%E2%82%AC.txt"),
        ('a"b;c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%3Bc.txt"),
        ("100%25.txt", "attachment; filename=\"100_25.txt\"; filename*=UTF-8''100%2525.txt"),
        ("it's(*).txt", "attachment; filename=\"it_s_.txt\"; filename*=UTF-8''it%27s%28%2A%29.txt"),
        ("a!#$&+^`|~.txt", "attachment; filename=\"a_.txt\"; filename*=UTF-8''a!#$&+^`|~.txt"),
    ],
)
def test_another_name_is_sent_in_both_spellings(text: str, header: str) -> None:
    assert content_disposition(file_name(text)) == header


@given(names)
def test_the_header_is_one_line_of_ascii_and_gives_the_name_back(text: str) -> None:
    name = file_name(text)
    header = content_disposition(name)
    extended = r"(?:%[0-9A-F]{2}|[A-Za-z0-9!#$&+.^_`|~-])+"
    parts = re.fullmatch(rf"""attachment; filename="([A-Za-z0-9._-]+)"(?:; filename\*=UTF-8''({extended}))?""", header)
    assert parts
    assert parts[1] == name.portable
    assert unquote(parts[2] or parts[1], errors="strict") == name.original


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("inline; filename=a.txt", "a.txt"),
        ('INLINE;FileName = "a b.txt"', "a b.txt"),
        (r'inline; filename="a\"b\\c"; size=3', r'a"b\c'),
        ("inline; filename=a.txt; filename*=UTF-8'en'%e2%82%ac.txt", "€.txt"),
        ("inline; filename*=iso-8859-1''%e4.txt; filename=a.txt", "ä.txt"),
        ("inline; filename*=UTF-8''%ff.txt; filename=a.txt", "a.txt"),
        ("inline; filename*=klingon''a; filename=a.txt", "a.txt"),
        ('inline; other="; filename=b.txt"; filename=a.txt', "a.txt"),
        ("inline", None),
        ("", None),
        ("filename=a.txt", None),
    ],
)
def test_a_disposition_gives_the_name_that_it_says(field: str, name: str | None) -> None:
    assert name_in_disposition(field) == name


@given(names)
def test_a_disposition_that_we_wrote_gives_the_name(text: str) -> None:
    assert name_in_disposition(content_disposition(file_name(text))) == file_name(text).original


@given(any_text)
def test_a_disposition_gives_a_name_or_none_and_nothing_else(text: str) -> None:
    assert isinstance(name_in_disposition(text), str | None)
